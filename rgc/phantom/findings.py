"""Findings: what kinds there are, where each can be, and the solids that draw it.

Every kind can occur in every region, on either side or both, at any size, and its place is drawn before it is known
whether it is there: so neither the region nor the level of a slice tells whether there is a finding, nor which.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from rgc.phantom.limbs import HAND_X, KNEE_X
from rgc.phantom.shapes import Crescent, Ellipsoid, Point, Solid, Tube

KINDS = ("mass", "haemorrhage", "cyst", "calcification", "effusion", "fracture", "atrophy")
SIDES = ("left", "right", "bilateral")


@dataclass(frozen=True)
class Place:
    """Where a finding can be: its name, a point on the patient's left (mm), and the room there."""

    name: str
    point: Point
    spread: Point = (4, 4, 4)
    only: str = ""  # "left" or "right": an organ that has no mirror image
    inside: str = "fat"
    along: Point = (0, 0, 1)  # of a bone: its direction
    radius: float = 0.0  # of a bone


@dataclass(frozen=True)
class Finding:
    """One finding at its place; `present` is False for a level that was chosen as if it were there."""

    kind: str
    side: str
    size_mm: int
    place: str
    region: str
    seed: str
    present: bool = True


SOFT: dict[str, tuple[Place, ...]] = {
    "head": (
        Place("frontal lobe", (34, -44, 22), inside="white"),
        Place("parietal lobe", (38, 32, 34), inside="white"),
        Place("temporal lobe", (44, 0, -8), inside="white"),
        Place("occipital lobe", (28, 56, 14), inside="white"),
        Place("basal ganglia", (25, -8, 8), inside="white"),
        Place("cerebellar hemisphere", (26, 48, -40), inside="gray"),
    ),
    "chest": (
        Place("upper lobe", (90, -8, 62), (5, 18, 10), inside="lung"),
        Place("lower lobe", (96, 30, -36), (5, 14, 12), inside="lung"),
        Place("lingula", (102, -34, -18), (4, 6, 8), "left", "lung"),
        Place("middle lobe", (100, -34, -18), (5, 8, 8), "right", "lung"),
    ),
    "abdomen": (
        Place("right lobe of the liver", (86, -10, 58), (12, 14, 16), "right", "liver"),
        Place("spleen", (110, 30, 52), (2, 8, 10), "left", "spleen"),
        Place("upper pole of the kidney", (66, 34, 34), (2, 2, 4), inside="kidney"),
        Place("lower pole of the kidney", (66, 34, -28), (2, 2, 4), inside="kidney"),
    ),
    "spine": (
        Place("psoas muscle", (36, 36, 0), (2, 3, 40)),
        Place("paraspinal muscle", (36, 84, 0), (4, 2, 50)),
    ),
    "knee": (
        Place("popliteal fossa", (KNEE_X, 38, 4), (8, 3, 10)),
        Place("calf muscle", (KNEE_X - 6, 36, -60), (6, 3, 12)),
        Place("distal thigh muscle", (KNEE_X - 22, 22, 70), (3, 3, 14)),
    ),
    "hand": (
        Place("thenar muscles", (HAND_X - 24, 5, -28), (2, 1, 6)),
        Place("hypothenar muscles", (HAND_X + 26, 5, -30), (2, 1, 6)),
        Place("dorsal soft tissues of the wrist", (HAND_X, -8, -64), (8, 1, 5)),
    ),
}
BONE: dict[str, tuple[Place, ...]] = {
    "head": (
        Place("parietal bone", (60, 50, 24), (0, 0, 10), along=(-0.45, 0.89, 0), radius=4),
        Place("frontal bone", (52, -63, 24), (0, 0, 8), along=(0.65, 0.76, 0), radius=4),
    ),
    "chest": (
        Place("lateral fifth rib", (141, 4, 2), along=(0, 0.9, 0.3), radius=5),
        Place("lateral seventh rib", (142, 4, -48), along=(0, 0.9, 0.3), radius=5),
    ),
    "abdomen": (
        Place("lateral tenth rib", (118, 5, 138), along=(0, 0.9, 0.3), radius=5),
        Place("iliac bone", (92, 40, -128), along=(0.5, -0.7, 0), radius=8),
    ),
    "spine": (
        Place("transverse process of L2", (30, 66, 38), along=(1, 0.15, 0.07), radius=5),
        Place("transverse process of L3", (30, 63, 4), along=(1, 0.15, 0.07), radius=5),
        Place("transverse process of L4", (30, 66, -30), along=(1, 0.15, 0.07), radius=5),
    ),
    "knee": (
        Place("distal femur", (KNEE_X, 0, 62), (0, 0, 8), along=(0.25, 0, 1), radius=16),
        Place("proximal tibia", (KNEE_X, 0, -62), (0, 0, 8), along=(0.25, 0, 1), radius=15),
    ),
    "hand": (
        Place("second metacarpal", (HAND_X - 14, 1, -14), (0, 0, 5), along=(-0.1, 0, 1), radius=5),
        Place("fifth metacarpal", (HAND_X + 13, 1, -14), (0, 0, 5), along=(0.1, 0, 1), radius=5),
        Place("distal radius", (HAND_X - 11, 2, -98), (0, 0, 4), along=(0, 0, 1), radius=8),
    ),
}
FLUID: dict[str, tuple[Place, ...]] = {
    "head": (Place("subdural space", (58, 0, 22), (0, 6, 8), inside="csf"),),
    "chest": (Place("pleural space", (86, 52, -76), (0, 4, 8), inside="lung"),),
    "abdomen": (Place("paracolic gutter", (124, -8, 10), (0, 4, 14)),),
    "spine": (Place("subcutaneous tissues behind the paraspinal muscles", (34, 104, 0), (3, 0, 40)),),
    "knee": (Place("suprapatellar recess", (KNEE_X, -36, 62), (2, 1, 3)),),
    "hand": (Place("radiocarpal joint", (HAND_X - 2, 0, -73), (2, 1, 0)),),
}


def places(kind: str, region: str, side: str) -> list[Place]:
    """The places of a region where a kind of finding can be on a side."""
    table = {"fracture": BONE, "effusion": FLUID}.get(kind, SOFT)[region]
    fitting = [p for p in table if p.only in ("", side)]
    if kind == "atrophy":
        fitting = [p for p in fitting if p.name not in ("popliteal fossa", "dorsal soft tissues of the wrist")]
    return fitting


def draw_finding(region: str, rng: random.Random, seed: str) -> Finding:
    """A kind, a side, a size and a place, each independent of the region but for the place's name."""
    kind, side = rng.choice(KINDS), rng.choices(SIDES, (0.44, 0.44, 0.12))[0]
    size = rng.randint(9, 30)
    place = rng.choice(places(kind, region, side)).name
    return Finding(kind, side, size, place, region, seed)


def solids(finding: Finding) -> tuple[list[Solid], Point]:
    """The finding's solids (one set a side), and the point to cut through; the same whether it is present or not."""
    place = next(p for p in places(finding.kind, finding.region, finding.side) if p.name == finding.place)
    out: list[Solid] = []
    first: Point | None = None
    for sign in {"left": (1,), "right": (-1,), "bilateral": (-1, 1)}[finding.side]:
        rng = random.Random(f"{finding.seed}/{sign}")
        if finding.side == "bilateral":  # nearly symmetric, so that one slice shows both
            rng = random.Random(finding.seed)
        x, y, z = (p + rng.uniform(-s, s) for p, s in zip(place.point, place.spread, strict=True))
        centre = (sign * x, y, z)
        first = first or centre
        size = finding.size_mm * (0.85 if finding.side == "bilateral" and first is not centre else 1.0)
        out += MAKERS[finding.kind](finding.region, place, centre, sign, size / 2, rng)
    assert first is not None
    return out, first


def _mass(region: str, place: Place, at: Point, sign: int, r: float, rng: random.Random) -> list[Solid]:
    shape = (r, r * _flat(region, rng), r * rng.uniform(0.85, 1.1))
    return [Ellipsoid("mass", at, shape, place.inside, bumps=(0.11, rng.randint(4, 6), rng.uniform(0, 6)))]


def _haemorrhage(region: str, place: Place, at: Point, sign: int, r: float, rng: random.Random) -> list[Solid]:
    shape = (r, r * _flat(region, rng) * 0.9, r * rng.uniform(0.8, 1.1))
    return [Ellipsoid("haemorrhage", at, shape, place.inside, bumps=(0.2, rng.randint(2, 3), rng.uniform(0, 6)))]


def _cyst(region: str, place: Place, at: Point, sign: int, r: float, rng: random.Random) -> list[Solid]:
    flat = _flat(region, rng)
    fluid = "lungcyst" if region == "chest" else "cystfluid"
    return [
        Ellipsoid("cystwall", at, (r, r * flat, r), place.inside),
        Ellipsoid(fluid, at, (r * 0.88, r * flat * 0.88, r * 0.88), "cystwall"),
    ]


def _calcification(region: str, place: Place, at: Point, sign: int, r: float, rng: random.Random) -> list[Solid]:
    r = r * 0.5  # see size_of
    return [Ellipsoid("calcium", at, (r, r * rng.uniform(0.75, 1), r * rng.uniform(0.75, 1)), place.inside, 2.5)]


def _effusion(region: str, place: Place, at: Point, sign: int, r: float, rng: random.Random) -> list[Solid]:
    t = r * 2
    if region == "head":
        body = Ellipsoid("effusion", (0, 2, 8), (65, 83, 68), "csf")
        return [Crescent("effusion", body, Ellipsoid("gray", (-sign * t * 0.6, 2, 8), (65.5, 90, 90)), "csf")]
    if region == "chest":
        body = Ellipsoid("effusion", (sign * 74, 2, 6), (54, 81, 126), "lung", 2.5)
        return [Crescent("effusion", body, Ellipsoid("lung", (sign * 72, 2 - t, 6 + 1.3 * t), (58, 81, 126)), "lung")]
    if region == "abdomen":
        body = Ellipsoid("effusion", (0, -10, at[2]), (131, 80, 70), "fat")
        return [Crescent("effusion", body, Ellipsoid("fat", (-sign * t * 0.8, -10, at[2]), (131, 90, 100)), "fat")]
    flat = {"spine": (24, r * 0.7, 34), "knee": (23, r * 0.8, 22), "hand": (18, 10, r * 0.6)}[region]
    return [Ellipsoid("effusion", at, (flat[0], flat[1], flat[2]), "fat", 2.5)]


def _fracture(region: str, place: Place, at: Point, sign: int, r: float, rng: random.Random) -> list[Solid]:
    """Oedema, the bone again with a step, and a gap across it."""
    a = (sign * place.along[0], place.along[1], place.along[2])
    norm = math.sqrt(sum(c * c for c in a))
    a = (a[0] / norm, a[1] / norm, a[2] / norm)
    b, reach = place.radius, max(place.radius * 0.8, r * 0.9)
    step = (-a[1] * 0.3 * b, a[0] * 0.3 * b, 0.0) if abs(a[2]) < 0.8 else (0.25 * b, 0.1 * b, 0.0)
    ends = [tuple(p + m * reach * c for p, c in zip(at, a, strict=True)) for m in (-1, 1)]
    moved = tuple(e + s for e, s in zip(ends[1], step, strict=True))
    middle = tuple(p + s for p, s in zip(at, step, strict=True))
    halo = b + min(r * 0.5, 6)
    tissue = "bone" if b < 7 else "marrow"
    gap = _across(a, 1.0 + r * 0.04, b * 1.25)
    out: list[Solid] = [Ellipsoid("oedema", at, (halo, min(halo, 14 if region == "hand" else halo), halo), "muscle")]
    if b < 12:
        pieces = ((ends[0], at), (middle, moved))
        out += [Tube(tissue, (_point(p), _point(q)), b, "bone") for p, q in pieces]
    else:  # a thick bone keeps its outline: only the line shows
        out = [Ellipsoid("oedema", at, (b * 0.85, b * 0.85, 5 + r * 0.4), "marrow")]
    return [*out, Ellipsoid("gap", at, gap[0], "bone", 2.5, gap[1])]


def _atrophy(region: str, place: Place, at: Point, sign: int, r: float, rng: random.Random) -> list[Solid]:
    tissue = {"head": "csfloss", "chest": "scar"}.get(region, "loss")
    shape = (r * 0.9, r * 0.9 * _flat(region, rng), r)
    return [Ellipsoid(tissue, at, shape, place.inside, bumps=(0.32, 7, rng.uniform(0, 6)))]


MAKERS = {
    "mass": _mass,
    "haemorrhage": _haemorrhage,
    "cyst": _cyst,
    "calcification": _calcification,
    "effusion": _effusion,
    "fracture": _fracture,
    "atrophy": _atrophy,
}


def measured_mm(finding: Finding) -> int:
    """The size that a reader would measure: a calcification is drawn half as wide as other findings."""
    return max(4, round(finding.size_mm * 0.5)) if finding.kind == "calcification" else finding.size_mm


def _flat(region: str, rng: random.Random) -> float:
    """Front-to-back size over width: a hand is thin."""
    return rng.uniform(0.42, 0.5) if region == "hand" else rng.uniform(0.8, 1.0)


def _across(a: Point, thin: float, wide: float) -> tuple[Point, tuple[int, float]]:
    """Radii and turn of a plate that stands across the direction `a`."""
    if abs(a[2]) > 0.8:
        return (wide, wide, thin), (1, math.atan2(-a[0], a[2]))
    return (thin, wide, wide), (2, math.atan2(a[1], a[0]))


def _point(p: tuple[float, ...]) -> Point:
    return p[0], p[1], p[2]
