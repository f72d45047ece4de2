"""The knees and the hands as solids: both sides, each the mirror image of the other (mm, see shapes)."""

from __future__ import annotations

import math
import random

from rgc.phantom.shapes import Ellipsoid, Point, Solid, Tube

KNEE_X, HAND_X = 74.0, 66.0  # distance of a limb's middle from the body's midline


def bone(points: tuple[Point, ...], radius: float, shell: float = 2.2) -> list[Solid]:
    """A long bone: a shell of cortex round marrow."""
    return [Tube("bone", points, radius), Tube("marrow", points, radius - shell, "bone")]


class Limb:
    """A limb's own frame: distances outwards from its middle, so that one description serves both sides."""

    def __init__(self, side: int, middle: float, scale: float = 1.0) -> None:
        self.side, self.middle, self.scale = side, middle, scale

    def at(self, out: float, y: float, z: float) -> Point:
        """Patient coordinates of a point `out` mm outwards from the limb's middle."""
        return (self.side * (self.middle + out * self.scale), y, z * self.scale)


def knees(rng: random.Random) -> list[Solid]:
    """Both knees, straight, the fibula on the outer side of each."""
    k = rng.uniform(0.95, 1.05)
    limbs = [Limb(side, KNEE_X) for side in (-1, 1)]
    return [solid for limb in limbs for solid in (*_leg(limb, k), *_knee_joint(limb, k))]


def _leg(limb: Limb, k: float) -> list[Solid]:
    """Skin, muscles, vessels and the shafts of the long bones."""
    at = limb.at
    middle = (at(0, 6, -260), at(0, 6, -70), at(0, 2, 0), at(0, 4, 80), at(0, 6, 260))
    return [
        Tube("skin", middle, 57 * k, "air"),
        Tube("fat", middle, 55 * k, "skin"),
        Tube("muscle", (at(-10, 32, 40), at(-10, 36, -40), at(-8, 32, -260)), 20, "fat"),
        Tube("muscle", (at(12, 32, 40), at(12, 36, -40), at(10, 32, -260)), 20, "fat"),
        Tube("muscle", (at(16, -22, -50), at(14, -10, -260)), 18, "fat"),
        Tube("muscle", (at(0, -30, 50), at(0, -26, 260)), 24, "fat"),
        Tube("muscle", (at(-24, 22, 40), at(-26, 18, 260)), 19, "fat"),
        Tube("muscle", (at(24, 24, 40), at(24, 18, 260)), 19, "fat"),
        Tube("blood", (at(0, 36, 260), at(0, 38, -260)), 4.5, "fat"),
        Tube("cartilage", (at(0, -38, 46), at(0, -44, 22), at(0, -30, -44)), 5, "fat"),
        *bone((at(0, 0, 260), at(0, 0, 60), at(0, 4, 34)), 15 * k),
        *bone((at(0, 4, -30), at(0, 0, -60), at(0, 0, -260)), 14 * k),
        *bone((at(34, 20, -36), at(36, 18, -70), at(34, 12, -260)), 7, 1.8),
    ]


def _knee_joint(limb: Limb, k: float) -> list[Solid]:
    """Condyles, menisci, plateau, cruciate ligament and patella."""
    at = limb.at
    out: list[Solid] = []
    for inner in (-19, 19):
        out += [
            Ellipsoid("cartilage", at(inner, 8, 18), (20 * k, 31 * k, 22.5), "fat"),
            Ellipsoid("bone", at(inner, 8, 19), (18.5 * k, 29 * k, 21), "cartilage"),
            Ellipsoid("marrow", at(inner, 8, 20), (16.5 * k, 27 * k, 19), "bone"),
            Ellipsoid("disc", at(inner * 1.25, 4, -4), (13, 24, 3.4), "fat"),
            Ellipsoid("cartilage", at(inner, 4, -8), (18, 24, 2.8), "fat"),
        ]
    # Marrow `inside` marrow changes slices and leaves projections alone: it only joins bones that overlap.
    return [
        *out,
        Ellipsoid("marrow", at(0, 0, 26), (24, 20, 22), "marrow"),
        Ellipsoid("bone", at(0, 5, -24), (38 * k, 27 * k, 15), "fat", 3),
        Ellipsoid("marrow", at(0, 5, -24), (36 * k, 25 * k, 13), "bone", 3),
        Ellipsoid("marrow", at(0, 2, -40), (24, 18, 20), "marrow"),
        Tube("wall", (at(8, 20, 8), at(-4, -2, -10)), 4, "fat"),
        Ellipsoid("cartilage", at(0, -38, 24), (21, 9, 22), "fat"),
        Ellipsoid("bone", at(0, -40, 24), (20, 9, 21), "fat"),
        Ellipsoid("marrow", at(0, -40, 24), (18, 7, 19), "bone"),
    ]


def hands(rng: random.Random) -> list[Solid]:
    """Both hands, palms down, the thumbs towards the midline."""
    k = rng.uniform(0.94, 1.06)
    skin: list[Solid] = []
    deep: list[Solid] = []
    for side in (-1, 1):
        limb = Limb(side, HAND_X, k)
        for part in (_palm(limb, rng), _fingers(limb), _thumb(limb)):
            skin += part[0]
            deep += part[1]
    return skin + deep  # all skin first: what one part covers must not hide another's bones


Parts = tuple[list[Solid], list[Solid]]


def _palm(limb: Limb, rng: random.Random) -> Parts:
    at, side, k = limb.at, limb.side, limb.scale
    skin: list[Solid] = [
        Ellipsoid("skin", at(0, 2, -20), (42 * k, 18, 48), "air", 2.8),
        Tube("skin", (at(0, 2, -84), at(2, 4, -200)), 27, "air"),
    ]
    deep: list[Solid] = [
        Ellipsoid("fat", at(0, 2, -20), (40 * k, 16, 46), "skin", 2.8),
        Tube("fat", (at(0, 2, -84), at(2, 4, -200)), 25, "skin"),
        Ellipsoid("muscle", at(-24, 5, -28), (15 * k, 10, 30), "fat", turn=(1, -side * 0.4)),
        Ellipsoid("muscle", at(26, 5, -30), (10 * k, 9, 28), "fat"),
        Tube("muscle", (at(-8, 12, -80), at(-6, 14, -200)), 10, "fat"),
        Tube("muscle", (at(12, 12, -80), at(12, 14, -200)), 9, "fat"),
        *bone((at(-11, 2, -80), at(-10, 3, -200)), 8),
        Ellipsoid("bone", at(-11, 2, -78), (14, 9, 9), "fat"),
        Ellipsoid("marrow", at(-11, 2, -78), (12, 7.5, 7.5), "bone"),
        *bone((at(14, 2, -82), at(14, 3, -200)), 6),
    ]
    for row, z in enumerate((-67.0, -53.0)):  # the wrist's bones
        for n in range(4):
            where = at(-20 + 12.5 * n, 2, z + 2 * math.cos(n))
            wide, tall = 7 + rng.uniform(-0.8, 0.8), 6.4 + 0.4 * row
            deep.append(Ellipsoid("bone", where, (wide, 7, tall), "fat"))
            deep.append(Ellipsoid("marrow", where, (wide - 1.4, 5.6, tall - 1.4), "bone"))
    return skin, deep


def _fingers(limb: Limb) -> Parts:
    at = limb.at
    skin: list[Solid] = []
    deep: list[Solid] = []
    # Of each finger: where its base and tip are, outwards, and its length.
    for base, tip, long in ((-22.0, -34.0, 0.95), (-9.0, -12.0, 1.05), (5.0, 7.0, 1.0), (18.0, 25.0, 0.82)):
        end = 22 + 76 * long
        skin.append(Tube("skin", (at(base, 2, 30), at(tip, 2, end)), 10, "air"))
        deep.append(Tube("fat", (at(base, 2, 30), at(tip, 2, end)), 8.4, "skin"))
        spans = ((-46.0, 10.0), (14.0, 14 + 38 * long), (17 + 38 * long, 17 + 61 * long), (20 + 61 * long, end - 3))
        for span, radius in zip(spans, (4.6, 4.4, 3.8, 3.2), strict=True):
            ends = []
            for z in span:
                share = (z - 12) / (end - 12) if z > 0 else 0.6 * (z - 12) / 140
                ends.append(at(base + (tip - base) * share, 1, z))
            deep += bone(tuple(ends), radius, 1.4)
    return skin, deep


def _thumb(limb: Limb) -> Parts:
    at = limb.at
    middle = (at(-32, 4, -40), at(-56, 2, 12), at(-60, 2, 42))
    deep: list[Solid] = [Tube("fat", middle, 9, "skin")]
    deep += bone((at(-26, 2, -48), at(-45, 2, -13)), 5.0, 1.4)
    deep += bone((at(-47, 2, -10), at(-57, 2, 16)), 4.4, 1.4)
    deep += bone((at(-58, 2, 19), at(-61, 2, 40)), 3.6, 1.4)
    return [Tube("skin", middle, 11, "air")], deep
