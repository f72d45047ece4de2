"""Duplicates among real images: recall and precision beside `imagehash`, every miss, and the cost of the search.

    python bench/dedup.py REAL_DATA [--sample DIR] [--images 500] [--peer]
    python bench/dedup.py --speed

REAL_DATA holds medpix2/images and vqa_rad/images. The pairs that are the same image, among the real ones, were judged
by eye; they are listed below. With --peer the hashes of `imagehash` (pip install imagehash) are measured too.
"""

import argparse
import io
import json
import os
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from multiprocessing.pool import Pool
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: its threads and ours would fight for the cores
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance

from corpus_db import dedup

SEED = 20
# By eye: MedPix-2.0's pairs of one image (synpic numbers); in the first four, a window or burnt-in text differs.
SAME = {
    (17001, 17003), (50747, 50748), (21841, 21866), (21845, 22032), (31715, 31716), (47286, 47290), (50581, 50637),
    (16800, 16803), (43627, 43628), (43625, 43626), (49844, 49845), (44967, 44974), (33082, 33084), (34354, 34376),
    (16361, 16370), (21667, 21669), (39466, 39511), (39460, 39512),
}  # fmt: skip
SAME_ACROSS = {(24221, 24220), (39512, 39460)}  # MedPix-2.0 and VQA-RAD, under different numbers


def recoded(image: Image.Image, quality: int) -> Image.Image:
    """The image after JPEG."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return Image.open(out)


def halved(image: Image.Image, chance: random.Random) -> Image.Image:
    """Half as wide and high."""
    return recoded(image.resize((image.width // 2 or 1, image.height // 2 or 1), Image.Resampling.LANCZOS), 90)


def cropped(image: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    """Without these shares of its sides."""
    wide, high = image.size
    box = (round(left * wide), round(top * high), wide - round(right * wide), high - round(bottom * high))
    return recoded(image.crop(box), 90)


def off_centre(image: Image.Image, chance: random.Random) -> Image.Image:
    """Up to 3 % off each side, unevenly."""
    return cropped(image, *(chance.uniform(0, 0.03) for _ in range(4)))


def rewindowed(image: Image.Image, chance: random.Random) -> Image.Image:
    """Blacks up to 40 and whites from 170 on lost, gamma 0.7 to 1.4."""
    low, high, gamma = chance.uniform(0, 40), chance.uniform(170, 255), chance.uniform(0.7, 1.4)
    return recoded(
        image.point([round(255 * min(1, max(0, (v - low) / (high - low))) ** gamma) for v in range(256)]), 90
    )


def annotated(image: Image.Image, chance: random.Random) -> Image.Image:
    """An arrow, a letter and two lines of text drawn in."""
    copy, (wide, high) = image.copy(), image.size
    draw, x, y = ImageDraw.Draw(copy), chance.uniform(0.25, 0.65) * wide, chance.uniform(0.25, 0.65) * high
    draw.line([(x, y), (x + 0.1 * wide, y + 0.07 * wide)], fill=255, width=max(1, wide // 85))
    draw.text((x + 0.1 * wide, y + 0.07 * wide), "A", fill=255, font_size=max(10, high // 22))
    draw.text((0.03 * wide, 0.03 * high), "Case 4711\nAxial T2", fill=255, font_size=max(9, high // 28))
    return recoded(copy, 80)


def everything(image: Image.Image, chance: random.Random) -> Image.Image:
    """Off-centre crop, half size, brighter, q50."""
    return recoded(brightened(halved(off_centre(image, chance), chance), chance), 50)


def brightened(image: Image.Image, chance: random.Random) -> Image.Image:
    """10 % brighter."""
    return recoded(ImageEnhance.Brightness(image).enhance(1.1), 90)


CHANGES: dict[str, Callable[[Image.Image, random.Random], Image.Image]] = {
    "re-encoded q50": lambda image, chance: recoded(image, 50),
    "resized to 0.5": halved,
    "cropped 3 % in all": lambda image, chance: cropped(image, *(0.015,) * 4),
    "cropped 3 % each side": lambda image, chance: cropped(image, *(0.03,) * 4),
    "cropped off-centre": off_centre,
    "brightened 10 %": brightened,
    "crop + 0.5 + bright + q50": everything,
    "re-windowed": rewindowed,
    "crop + 0.5 + re-windowed + q50": lambda image, chance: recoded(
        rewindowed(halved(off_centre(image, chance), chance), chance), 50
    ),
    "annotated": annotated,
}


def described(image: Image.Image) -> tuple[str, dedup.Prepared]:
    """What the search and the verdict take."""
    return dedup.signature(image).phash, dedup.prepare(image)


def read(path: Path) -> tuple[str, dedup.Prepared]:
    """The same, of a file."""
    with Image.open(path) as image:
        return described(image)


def changed(task: tuple[Path, str]) -> tuple[str, dedup.Prepared]:
    """The same, of a changed copy of a file."""
    path, change = task
    with Image.open(path) as image:
        return described(CHANGES[change](image.convert("L"), random.Random(f"{SEED} {path.name} {change}")))


def judged(pair: tuple[dedup.Prepared, dedup.Prepared]) -> dedup.Match | None:
    """The verdict on one pair."""
    return dedup.compare(*pair)


def matches(
    pool: Pool, items: list[tuple[str, dedup.Prepared]], known: int = 0
) -> tuple[set[tuple[int, int]], dict[tuple[int, int], dedup.Match]]:
    """The candidates, and the verdicts on the same: among all, or of the first `known` with the rest."""
    near = dedup.candidates([phash for phash, _ in items])
    pairs = [(i, j) for i, j in near if not known or i < known <= j]
    verdicts = pool.map(judged, [(items[i][1], items[j][1]) for i, j in pairs], chunksize=64)
    return set(pairs), {pair: verdict for pair, verdict in zip(pairs, verdicts, strict=True) if verdict}


def number(path: Path) -> int:
    """The synpic number of a file."""
    return int(re.findall(r"synpic(\d+)", path.name)[-1])


def expected(paths: list[Path]) -> set[tuple[int, int]]:
    """The pairs (i < j) of MedPix-2.0's files, then VQA-RAD's, that are the same image."""
    place = {(path.parent.parent.name, number(path)): index for index, path in enumerate(paths)}
    both = [value for corpus, value in place if corpus == "vqa_rad" and ("medpix2", value) in place]
    pairs = [(("medpix2", a), ("medpix2", b)) for a, b in SAME]
    pairs += [(("medpix2", a), ("vqa_rad", b)) for a, b in SAME_ACROSS | {(value, value) for value in both}]
    return {(min(place[a], place[b]), max(place[a], place[b])) for a, b in pairs if a in place and b in place}


def chosen(paths: list[Path], count: int) -> list[int]:
    """The same `count` of MedPix-2.0's images at each run."""
    own = [index for index, path in enumerate(paths) if path.parent.parent.name == "medpix2"]
    return sorted(random.Random(SEED).sample(own, min(count, len(own))))


def real(pool: Pool, paths: list[Path], count: int) -> None:
    """The tables on real images."""
    began = time.perf_counter()
    items, truth = pool.map(read, paths, chunksize=16), expected(paths)
    print(f"{len(items):,} images read, hashed and prepared: {time.perf_counter() - began:.0f} s")
    began = time.perf_counter()
    pairs, found = matches(pool, items)
    print(f"{len(pairs):,} candidates, {len(found)} matches: {time.perf_counter() - began:.1f} s\n")
    across = {pair for pair in truth if paths[pair[0]].parent != paths[pair[1]].parent}
    print("| real images | pairs by eye | found | false |\n| --- | --- | --- | --- |")
    for name, which in (("within MedPix-2.0 and VQA-RAD", truth - across), ("MedPix-2.0 against VQA-RAD", across)):
        kind = {pair for pair in found if (paths[pair[0]].parent != paths[pair[1]].parent) == (which is across)}
        print(f"| {name} | {len(which)} | {len(kind & which)} | {len(kind - which)} |")
    for label, some in (("missed", truth - set(found)), ("false", set(found) - truth)):
        for i, j in sorted(some):
            print(f"{label}: {paths[i].stem} {paths[j].stem} {'candidate' if (i, j) in pairs else 'no candidate'}")
    report_clusters(len(items), found)
    copies(pool, paths, items, dict(found), chosen(paths, count))


def report_clusters(count: int, found: Iterable[tuple[int, int]]) -> None:
    """The sizes of the clusters."""
    sizes = Counter(Counter(dedup.clusters(count, found)).values())
    print("clusters of size: " + ", ".join(f"{size}: {many:,}" for size, many in sorted(sizes.items())) + "\n")


def copies(
    pool: Pool,
    paths: list[Path],
    items: list[tuple[str, dedup.Prepared]],
    alike: dict[tuple[int, int], dedup.Match],
    sample: list[int],
) -> None:
    """Recall on changed copies, and what else they matched among all real images."""
    cluster = dedup.clusters(len(items), set(alike) | expected(paths))
    print(f"| change of {len(sample)} | candidates | recall | false matches |\n| --- | --- | --- | --- |")
    hits = wrong = 0
    lines = []
    for change in CHANGES:
        altered = pool.map(changed, [(paths[index], change) for index in sample], chunksize=8)
        pairs, found = matches(pool, items + altered, len(items))
        own = {(index, len(items) + place) for place, index in enumerate(sample)}
        others = {(i, j) for i, j in found if i < len(items) <= j and cluster[i] != cluster[sample[j - len(items)]]}
        right = own & set(found)
        hits, wrong = hits + len(right), wrong + len(others)
        print(
            f"| {change} | {len(own & pairs) / len(own):.3f} | {len(right) / len(own):.3f} | {len(others)} |",
            flush=True,
        )
        lines += [
            f"missed: {change}: {paths[i].stem} {'verdict' if (i, j) in pairs else 'no candidate'}"
            for i, j in sorted(own - set(found))
        ]
        lines += [
            f"false: {change}: {paths[i].stem} and {paths[sample[j - len(items)]].stem}" for i, j in sorted(others)
        ]
    print(f"\nprecision of all copies: {hits / ((hits + wrong) or 1):.4f}\n" + "\n".join(lines))


def peer(paths: list[Path], count: int) -> None:
    """`imagehash` on the same copies: recall, and how many other pairs of real images each radius would merge."""
    import imagehash

    sample, truth = chosen(paths, count), expected(paths)
    print(f"\n| imagehash, radius | recall of {len(sample)}: " + " | ".join(CHANGES) + " | false pairs |")
    print("| --- " * (len(CHANGES) + 2) + "|")
    for name in ("phash", "dhash"):
        hasher = getattr(imagehash, name)
        bits = np.array([hasher(Image.open(path)).hash.ravel() for path in paths])
        apart = {
            change: [
                int(
                    (
                        hasher(
                            CHANGES[change](
                                Image.open(paths[i]).convert("L"), random.Random(f"{SEED} {paths[i].name} {change}")
                            )
                        ).hash.ravel()
                        != bits[i]
                    ).sum()
                )
                for i in sample
            ]
            for change in CHANGES
        }
        signs = bits * 2.0 - 1
        distance = np.triu((64 - signs @ signs.T) / 2 + 99 * np.tri(len(bits)), 0)
        for radius in (0, 2, 4, 8, 12):
            near = np.argwhere(distance <= radius)
            false = len({(int(i), int(j)) for i, j in near if i < j} - truth)
            recalls = " | ".join(f"{np.mean(np.array(apart[change]) <= radius):.3f}" for change in CHANGES)
            print(f"| {name} {radius} | {recalls} | {false} |", flush=True)


def synthetic(pool: Pool, folder: Path) -> None:
    """Recall and precision on a sample of the embedded site, whose truth is known."""
    rows = [json.loads(line) for line in (folder / "truth.jsonl").open()]
    place = {row["name"]: index for index, row in enumerate(rows)}
    copies = ((row["name"], row["duplicate_of"]) for row in rows if row["duplicate_of"])
    truth = {tuple(sorted((place[copy], place[first]))) for copy, first in copies}
    items = pool.map(read, [folder / "images" / row["name"] for row in rows], chunksize=16)
    pairs, found = matches(pool, items)
    print(f"\n| sample of {len(rows):,} | candidates | pairs | found | false |\n| --- | --- | --- | --- | --- |")
    print(f"| {folder.name} | {len(pairs):,} | {len(truth)} | {len(truth & set(found))} | {len(set(found) - truth)} |")
    for label, some in (("missed", truth - set(found)), ("false", set(found) - truth)):
        for i, j in sorted(some):
            print(f"{label}: {rows[i]['name']} {rows[j]['name']} {'candidate' if (i, j) in pairs else 'no candidate'}")
    report_clusters(len(items), found)


def speed() -> None:
    """Seconds of one core to cluster hashes, by doubling: half uniform, half 3 to 20 bits from one of 2,000 centres."""
    chance = np.random.default_rng(SEED)
    crops, centres = 7, chance.integers(0, 2**64, 2000, dtype=np.uint64)
    print("| hashes | pairs | seconds | times the one before |\n| --- | --- | --- | --- |")
    before = 0.0  # seconds
    for count in (12_500, 25_000, 50_000, 100_000, 200_000):
        wholes = chance.integers(0, 2**64, count, dtype=np.uint64)
        wholes[::2] = _flipped(centres[chance.integers(0, len(centres), count)[::2]], chance, 3, 20)
        table = np.stack([wholes] + [_flipped(wholes, chance, 0, 6) for _ in range(crops - 1)], axis=1)
        hashes = [row.astype(">u8").tobytes().hex() for row in table]
        began = time.process_time()
        pairs = list(dedup.candidates(hashes))
        dedup.clusters(count, pairs)
        took = time.process_time() - began
        print(f"| {count:,} | {len(pairs):,} | {took:.1f} | {f'{took / before:.1f}' if before else ''} |", flush=True)
        before = took


def _flipped(values: np.ndarray, chance: np.random.Generator, least: int, most: int) -> np.ndarray:
    """64-bit values with some random bits flipped each."""
    order = np.argsort(chance.random((len(values), 64)), axis=1)[:, :most].astype(np.uint64)
    used = np.arange(most) < chance.integers(least, most + 1, (len(values), 1))
    flips = np.bitwise_or.reduce(np.where(used, np.uint64(1) << order, np.uint64(0)), axis=1)
    return values ^ flips


def main() -> None:
    """Print the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path)
    parser.add_argument("--sample", type=Path)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--speed", action="store_true")
    asked = parser.parse_args()
    with Pool() as pool:
        if asked.data:
            paths = [
                path for name in ("medpix2", "vqa_rad") for path in sorted((asked.data / name / "images").iterdir())
            ]
            real(pool, paths, asked.images)
            if asked.peer:
                peer(paths, asked.images)
        if asked.sample:
            synthetic(pool, asked.sample)
    if asked.speed:
        speed()


if __name__ == "__main__":
    main()
