"""The head, the trunk and its spine as solids, a little different in each case (mm, see shapes)."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from rgc.phantom.limbs import hands, knees
from rgc.phantom.shapes import Ellipsoid, Folds, Point, Solid, Tube

Waves = tuple[tuple[float, float, float, float], ...]


def anatomy(region: str, rng: random.Random, open_skull: bool = False) -> list[Solid]:
    """The solids of one case's region, in painting order. `open_skull`: an infant's, which ultrasound can enter."""
    if region == "head":
        return head(rng, open_skull)
    return {"chest": chest, "abdomen": abdomen, "spine": spine, "knee": knees, "hand": hands}[region](rng)


def waves(rng: random.Random, count: int, low: float, high: float) -> Waves:
    """Random plane waves with wavelengths between low and high mm."""
    out = []
    for _ in range(count):
        k, tilt, turn = 2 * math.pi / rng.uniform(low, high), rng.uniform(-1, 1), rng.uniform(0, 2 * math.pi)
        flat = math.sqrt(1 - tilt * tilt)
        out.append((k * flat * math.cos(turn), k * flat * math.sin(turn), k * tilt, rng.uniform(0, 2 * math.pi)))
    return tuple(out)


def vary(rng: random.Random, amount: float) -> Callable[[float], float]:
    """A function that scales a length by up to +-amount, anew at each call."""
    return lambda length: length * (1 + rng.uniform(-amount, amount))


def head(rng: random.Random, open_skull: bool) -> list[Solid]:
    """The head: scalp, skull, folded brain, ventricles, cerebellum, orbits and face."""
    v, k = vary(rng, 0.06), rng.uniform(0.95, 1.05)
    wide = rng.uniform(0.85, 1.25)  # of the ventricles
    skull = "dura" if open_skull else "bone"
    brain = Ellipsoid("gray", (0, 2, 8), (64 * k, 82 * k, 66 * k), "csf")
    out: list[Solid] = [
        Tube("skin", ((0, 30, -60), (0, 38, -190)), v(54), "air"),
        Tube("muscle", ((0, 30, -60), (0, 38, -190)), 46, "skin"),
        Ellipsoid("skin", (0, -42, -75), (v(58), v(58), 62), "air", 2.5),
        Ellipsoid("muscle", (0, -40, -75), (50, 50, 54), "skin", 2.5),
        Ellipsoid("skin", (0, -103, -55), (v(12), 16, 20), "air"),
        Ellipsoid("skin", (0, 0, 5), (78 * k, 98 * k, 83 * k), "air"),
        Ellipsoid("fat", (0, 0, 5), (76 * k, 96 * k, 81 * k), "skin"),
        Ellipsoid(skull, (0, 1, 6), (73 * k, 92.5 * k, 76.5 * k), "fat"),
        Ellipsoid("csf", (0, 2, 8), (66.5 * k, 85 * k, 69 * k), skull),
        brain,
        Folds("white", brain, waves(rng, 6, 22, 40), 0, 0.80, -0.34),
        Folds("csf", brain, waves(rng, 6, 26, 44), 0.70, 1.02, 0.15),
        Ellipsoid(skull, (0, -38, -52), (60, 46, 13), "muscle", 2.5),
        Ellipsoid("csf", (0, 44, -42), (54, 38, 30), "muscle"),
        Ellipsoid("gray", (0, 44, -40), (51 * k, 34, 26), "csf"),
    ]
    for side in (-1, 1):
        out += _half_of_head(side, v(1.0), wide, skull)
    return out + _midline_of_head(v, wide, skull, open_skull)


def _half_of_head(side: int, apart: float, wide: float, skull: str) -> list[Solid]:
    """What the head has twice: deep nuclei, lateral ventricles, orbits, maxillary sinuses, petrous bones, jaw."""
    x = side * apart
    return [
        Ellipsoid("deepgray", (22 * x, -14, 8), (8, 20, 13), "white", turn=(2, side * 0.35)),
        Ellipsoid("deepgray", (11 * x, 12, 4), (9, 14, 10), "white", turn=(2, -side * 0.4)),
        Ellipsoid("csf", (11 * x, -26, 16), (5 * wide, 22, 10 * wide), "white", turn=(2, side * 0.25)),
        Ellipsoid("csf", (13 * x, 8, 24), (5.5 * wide, 26, 7 * wide), "white", turn=(2, -side * 0.12)),
        Ellipsoid("csf", (23 * x, 34, 12), (6 * wide, 21, 9 * wide), "white", turn=(2, -side * 0.4)),
        Ellipsoid("csf", (30 * x, -4, -8), (15, 8, 4), "gray"),
        Ellipsoid("fat", (32 * x, -66, -30), (20, 26, 18), "bone"),
        Ellipsoid("cystwall", (32 * x, -78, -30), (12.5, 12.5, 12.5), "fat"),
        Ellipsoid("csf", (32 * x, -78, -30), (11, 11, 11), "cystwall"),
        Tube("white", ((32 * x, -66, -30), (8 * x, -34, -30)), 2.2, "fat"),
        Ellipsoid("air", (24 * x, -62, -66), (13, 15, 15), "muscle", 2.5),
        Ellipsoid("bone", (48 * x, 14, -42), (17, 12, 11), "muscle", turn=(2, side * 0.5)),
        Tube(skull, ((52 * x, -2, -78), (50 * x, -20, -108), (14 * x, -82, -116)), 6, "muscle"),
    ]


def _midline_of_head(v: Callable[[float], float], wide: float, skull: str, open_skull: bool) -> list[Solid]:
    """Third and fourth ventricles, brain stem, folia, airway, falx and the spine of the neck."""
    bars = [((-48.0, 44.0 + y, -40.0 - y / 2), (48.0, 44.0 + y, -40.0 - y / 2)) for y in range(-24, 30, 9)]
    out: list[Solid] = [
        Ellipsoid("csf", (0, 2, 2), (2.6 * wide, 15, 10), "white"),
        Tube("white", ((-16, -14, 24), (16, -14, 24)), 3, "white"),
        *(Tube("csf", bar, 0.8, "gray") for bar in bars),
        Ellipsoid("csf", (0, 26, -38), (6, 7, 9), "white"),
        Tube("white", ((0, 8, -12), (0, 12, -36), (0, 18, -70)), 10, "muscle"),
        Ellipsoid("white", (0, 4, -34), (17, 12, 14), "muscle"),
        Tube("cord", ((0, 22, -70), (0, 30, -190)), 5.5, "csf"),
        Ellipsoid("air", (0, -64, -50), (7, 28, 22), "muscle", 2.5),
        Tube("air", ((0, -18, -60), (0, -8, -110), (0, -6, -190)), 8, "muscle"),
        Ellipsoid("dura", (0, 2, 52), (1.0, 80, 26), "gray"),
    ]
    if not open_skull:  # an infant has no frontal sinus yet
        out.append(Ellipsoid("air", (8, -86, 2), (v(20), 5, 12), skull))
    out += [Ellipsoid("marrow", (0, 12, -88 - 21 * n), (12, 9, 8), "muscle", 4) for n in range(5)]
    return out


def vertebrae(low: int, high: int, pitch: float, bend: Callable[[float], float], size: float) -> list[Solid]:
    """Vertebrae number low..high (upwards): bodies, discs, canal with its cord, arches and processes."""
    out: list[Solid] = []
    line = [float(n) * pitch for n in range(low, high + 1)]
    canal = tuple((0.0, bend(z) + 27 * size, z) for z in (line[0] - pitch, *line, line[-1] + pitch))
    out += [
        Tube("fat", canal, 12 * size),
        Tube("csf", canal, 9.5 * size, "fat"),
        Tube("cord", canal, 4.2 * size, "csf"),
    ]
    for z in line:
        y = bend(z)
        out += [
            Ellipsoid("bone", (0, y, z), (22.5 * size, 16.5 * size, pitch * 0.40), "muscle", 4),
            Ellipsoid("marrow", (0, y, z), (20.5 * size, 14.5 * size, pitch * 0.35), "bone", 4),
            Ellipsoid("cartilage", (0, y, z + pitch / 2), (22 * size, 16 * size, pitch * 0.1), "muscle", 4),
            Ellipsoid("disc", (0, y, z + pitch / 2), (16 * size, 11 * size, pitch * 0.08), "cartilage"),
            Tube("bone", ((0, y + 40 * size, z - 3), (0, y + 60 * size, z - 12)), 4 * size),
        ]
        for side in (-1, 1):
            s = side * size
            out += [
                Tube("bone", ((14 * s, y + 13 * size, z + 2), (15 * s, y + 28 * size, z)), 4.5 * size),
                Tube("bone", ((15 * s, y + 28 * size, z), (0, y + 41 * size, z - 4)), 4 * size),
                Tube("bone", ((16 * s, y + 26 * size, z + 2), (42 * s, y + 30 * size, z + 4)), 4.2 * size),
                Ellipsoid("bone", (17 * s, y + 29 * size, z + pitch / 2), (6 * size, 5 * size, 8 * size), "muscle"),
            ]
    return out


def ribs(rng: random.Random, first: float, count: int, wide: float, deep: float, pitch: float) -> list[Solid]:
    """Pairs of ribs from the spine round to the front, sloping down: one bar for the back, one for the front."""
    out: list[Solid] = []
    for n in range(count):
        z, grow = first - pitch * n, min(1.0, 0.62 + 0.11 * n)
        for side in (-1, 1):
            arc = [math.radians(a) for a in range(-78, 76, 14)]
            points: list[Point] = []
            for a in arc:
                x, y = side * wide * grow * math.cos(a) ** 0.8, -deep * math.sin(a) * (0.92 if a > 0 else 1)
                points.append((x + side * 10, y, z - 0.34 * (deep - y)))
            half = len(points) // 2
            r = rng.uniform(4.4, 5.2)
            out += [Tube("bone", tuple(points[: half + 1]), r), Tube("bone", tuple(points[half:]), r)]
    return out


def chest(rng: random.Random) -> list[Solid]:
    """The chest: lungs, heart to the left, great vessels, spine, ribs; liver and stomach under the diaphragm."""
    v, k = vary(rng, 0.05), rng.uniform(0.95, 1.04)
    right = Ellipsoid("lung", (-73 * k, 2, 8), (v(58) * k, 82 * k, v(128)), "muscle", 2.5)
    left = Ellipsoid("lung", (75 * k, 2, 4), (v(54) * k, 82 * k, v(126)), "muscle", 2.5)
    out: list[Solid] = [
        Ellipsoid("skin", (0, 6, -20), (170 * k, 121 * k, 900), "air", 2.6),
        Ellipsoid("fat", (0, 6, -20), (167 * k, 118 * k, 900), "skin", 2.6),
        Ellipsoid("muscle", (0, 6, -20), (v(150) * k, 104 * k, 900), "fat", 2.6),
        Ellipsoid("fat", (0, -25, 20), (36, 52, 130), "muscle"),
        right,
        left,
        Folds("vessel", right, waves(rng, 6, 20, 50), 0.0, 0.92, 0.13, "lung", branches=True),
        Folds("vessel", left, waves(rng, 6, 20, 50), 0.0, 0.92, 0.13, "lung", branches=True),
        Ellipsoid("muscle", (8, 20, 30), (28, 62, 150), "muscle"),
        Ellipsoid("fat", (4, -20, 40), (21, 50, 80), "muscle"),
    ]
    for side in (-1, 1):
        out += [
            Tube("vessel", ((side * 22, 8, 12), (side * 52, 12, -8), (side * 74, 22, -44)), 6, "lung"),
            Tube("vessel", ((side * 22, 4, 18), (side * 58, -8, 46)), 5, "lung"),
            Tube("air", ((0, 20, 40), (side * 30, 20, 16)), 6, "muscle"),
            Tube("bone", ((side * 18, -62, 104), (side * 80, -40, 122), (side * 140, -10, 124)), 6),
            Tube("bone", ((side * 108, 74, 112), (side * 92, 92, 20)), 7),
        ]
    return out + _heart_and_below(v) + ribs(rng, 138, 10, 132 * k, 88 * k, 25)


def _heart_and_below(v: Callable[[float], float]) -> list[Solid]:
    """The heart and great vessels, airway, sternum, spine, and the organs under the diaphragm."""
    return [
        Ellipsoid("heart", (24, -34, -38), (v(60), 46, v(54)), "lung", turn=(2, 0.45)),
        Ellipsoid("blood", (40, -34, -48), (v(28), 24, 30), "heart", turn=(2, 0.5)),
        Ellipsoid("blood", (0, -52, -36), (v(24), 17, 34), "heart", turn=(2, 0.3)),
        Ellipsoid("blood", (6, -4, -18), (30, 16, 22), "heart"),
        Tube("blood", ((-8, -24, -4), (-14, -22, 34), (4, -2, 58), (22, 30, 50), (22, 46, 20)), 13, "lung"),
        Tube("blood", ((22, 46, 22), (20, 48, -260)), 11.5, "lung"),
        Tube("blood", ((22, -30, -4), (16, -14, 22), (-18, -2, 18)), 12, "lung"),
        Tube("blood", ((-26, -22, 92), (-26, -20, -10)), 9, "lung"),
        Tube("air", ((0, 12, 200), (0, 20, 40)), 9, "muscle"),
        Ellipsoid("bone", (0, -99, 34), (17, 6, 72), "muscle", 4),
        *vertebrae(-9, 8, 23.5, lambda z: 68 - 0.0006 * z * z, 0.78),
        Ellipsoid("liver", (-48, -8, -158), (v(104), 84, v(76)), "muscle"),
        Ellipsoid("spleen", (104, 36, -150), (30, 42, 48), "muscle"),
        Ellipsoid("wall", (66, -14, -142), (44, 48, 46), "muscle"),
        Ellipsoid("air", (66, -26, -132), (36, 32, 32), "wall"),
    ]


def trunk(rng: random.Random) -> list[Solid]:
    """What the abdomen and the lumbar spine share: wall, muscles, great vessels, kidneys, spine."""
    v, k = vary(rng, 0.06), rng.uniform(0.95, 1.05)
    out: list[Solid] = [
        Ellipsoid("skin", (0, 0, 0), (168 * k, 118 * k, 900), "air", 2.3),
        Ellipsoid("fat", (0, 0, 0), (166 * k, 116 * k, 900), "skin", 2.3),
        Ellipsoid("muscle", (0, 2, 0), (146 * k, v(98) * k, 900), "fat", 2.3),
        Ellipsoid("fat", (0, -10, 0), (134 * k, v(82) * k, 900), "muscle", 2.3),
        Ellipsoid("muscle", (0, 62, 0), (58, 26, 900), "fat", 2.5),
    ]
    for side in (-1, 1):
        z = 12 if side > 0 else -8  # the left kidney is the higher one
        kidney = (side * v(62), 34, z)
        out += [
            Tube("muscle", ((side * 26, 36, 70), (side * 34, 36, -60), (side * 56, 10, -170)), 19, "fat"),
            Ellipsoid("muscle", (side * 34, 84, 0), (30, 20, 900), "fat"),
            Ellipsoid("kidney", kidney, (v(29), 24, v(54)), "fat", turn=(2, side * 0.5)),
            Ellipsoid("medulla", kidney, (20, 15, 42), "kidney", turn=(2, side * 0.5)),
            Ellipsoid("sinus", (kidney[0] - side * 6, 31, z), (14, 9, 28), "medulla", turn=(2, side * 0.5)),
            Ellipsoid("bone", (side * 92, 40, -160), (14, 40, 60), "muscle", turn=(2, side * 0.7)),
            Tube("bone", ((side * 95, -6, -205), (side * 60, -50, -215)), 14),
        ]
    out += [
        Tube("blood", ((11, 20, 200), (11, 16, -80)), v(10), "fat"),
        Tube("blood", ((11, 16, -80), (42, -6, -190)), 7, "fat"),
        Tube("blood", ((11, 16, -80), (-36, -6, -190)), 7, "fat"),
        Tube("blood", ((-17, 18, 200), (-17, 18, -90)), v(11), "fat"),
        *vertebrae(-4, 4, 34, lambda z: 44 - 10 * math.cos(z / 75), 1.0),
        Ellipsoid("bone", (0, 62, -178), (44, 20, 36), "muscle", 2.5),
    ]
    return out


def abdomen(rng: random.Random) -> list[Solid]:
    """The abdomen: liver and gallbladder on the right, stomach and spleen on the left, bowel below."""
    v = vary(rng, 0.07)
    out = trunk(rng)
    for _ in range(26):
        where = (rng.uniform(-76, 80), rng.uniform(-72, -14), rng.uniform(-150, 6))
        r = rng.uniform(11, 18)
        out += [
            Ellipsoid("wall", where, (r * 1.2, r, r), "fat"),
            Ellipsoid("content", where, (r, r - 3, r - 3), "wall"),
        ]
        if rng.random() < 0.5:
            out.append(
                Ellipsoid("air", (where[0], where[1] - r * 0.3, where[2]), (r * 0.7, r * 0.5, r * 0.6), "content")
            )
    for x, y in ((-108, 2), (112, 12)):
        bar = ((x, y, 30.0 if x > 0 else 0.0), (x * 1.02, y - 6, -110.0))
        out += [Tube("wall", bar, 19, "fat"), Tube("content", bar, 16, "wall")]
        out += [Ellipsoid("air", (x, y - 6, z), (10, 7, 13), "content") for z in (-25, -62, -96)]
    out += [
        Ellipsoid("liver", (-66, -6, 58), (v(70), v(76), v(74)), "fat", 2.3, bumps=(0.04, 3, rng.uniform(0, 6))),
        Ellipsoid("liver", (2, -36, 70), (v(66), 36, 46), "fat"),
        Tube("vessel", ((-18, -4, 62), (-52, -10, 66), (-84, 6, 74)), 5.5, "liver"),
        Tube("vessel", ((-20, 14, 100), (-60, -6, 96), (-92, -28, 84)), 4, "liver"),
        Tube("vessel", ((-20, 14, 98), (-46, -46, 84)), 3.5, "liver"),
        Ellipsoid("wall", (-46, -44, 14), (v(16), 23, 24), "fat"),
        Ellipsoid("bile", (-46, -44, 14), (13.5, 20, 21), "wall"),
        Ellipsoid("wall", (62, -28, 66), (v(44), 42, v(48)), "fat"),
        Ellipsoid("content", (62, -28, 66), (39, 37, 43), "wall"),
        Ellipsoid("air", (62, -48, 68), (32, 17, 34), "content"),
        Ellipsoid("spleen", (108, 30, 52), (v(25), 40, v(46)), "fat", turn=(2, -0.3)),
        Tube("pancreas", ((-34, -18, 12), (0, -14, 24), (34, -4, 32), (72, 12, 36)), 11, "fat"),
        Ellipsoid("wall", (0, -30, -190), (46, 38, 34), "fat"),
        Ellipsoid("csf", (0, -30, -190), (42, 34, 30), "wall"),
        *ribs(rng, 165, 4, 132, 84, 28),
    ]
    return out


def spine(rng: random.Random) -> list[Solid]:
    """The lumbar spine with the muscles round it."""
    out = trunk(rng)
    for _ in range(12):
        where = (rng.uniform(-80, 80), rng.uniform(-70, -30), rng.uniform(-140, 100))
        r = rng.uniform(11, 18)
        out += [Ellipsoid("wall", where, (r, r, r), "fat"), Ellipsoid("content", where, (r - 3, r - 3, r - 3), "wall")]
    return out
