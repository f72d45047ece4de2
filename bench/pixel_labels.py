"""What the pixel voter says of real images and of a sample with its truth: right, false and missed votes, and the time.

    python bench/pixel_labels.py REAL_DATA [--sample DIR]

REAL_DATA holds medpix2/images, vqa_rad/images and covid_chestxray/images: CT, MR and radiographs, by eye of one panel
but for a few with dark or no bands; stderr names each image that has a vote. DIR is a folder that
`python cli.py sample` wrote. Montages are made from every second image of MedPix-2.0 (odd places in the sorted names).
"""

import argparse
import io
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from corpus_db.pixel_labels import pixel_facts, pixel_votes

SEED = 20
MADE = 200  # montages, and images with a line drawn in, of each kind
SETS = ("medpix2/images", "vqa_rad/images", "covid_chestxray/images")


def votes_of(image: Image.Image) -> set[str]:
    """What is voted for one image, as field=value."""
    return {f"{vote.field}={vote.value}" for vote in pixel_votes(pixel_facts(image))}


def opened(path: Path) -> Image.Image:
    """The image, loaded."""
    with Image.open(path) as image:
        image.load()
    return image


def grey(path: Path) -> Image.Image:
    """Its grey levels."""
    return opened(path).convert("L")


def real(folder: Path) -> None:
    """One row a set: how many votes of each kind."""
    print("\n| real images | n | with a vote | which | CPU ms an image |\n| --- | --- | --- | --- | --- |")
    for name in SETS:
        images = [(path.name, opened(path)) for path in sorted((folder / name).iterdir())]
        start = time.process_time()
        voted = [(path, votes_of(image)) for path, image in images]
        cost = (time.process_time() - start) * 1000 / len(images)
        which = Counter(vote for _, votes in voted for vote in votes)
        listed = ", ".join(f"{vote} {count}" for vote, count in which.most_common()) or "-"
        print(f"| {name} | {len(images)} | {sum(bool(votes) for _, votes in voted)} | {listed} | {cost:.1f} |")
        for path, votes in voted:
            if votes:
                print(f"    {path}: {', '.join(sorted(votes))}", file=sys.stderr)


def jpeg(image: Image.Image) -> Image.Image:
    """The image after JPEG."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=85)
    return Image.open(out)


def side_by_side(one: Image.Image, other: Image.Image, *, wide: int, level: int) -> Image.Image:
    """Two images of one height with a band between them."""
    height = min(one.height, other.height)
    other = other.resize((round(other.width * height / other.height), height))
    sheet = Image.new("L", (one.width + wide + other.width, height), level)
    sheet.paste(one.crop((0, 0, one.width, height)), (0, 0))
    sheet.paste(other, (one.width + wide, 0))
    return jpeg(sheet)


def lined(image: Image.Image, chance: random.Random) -> Image.Image:
    """A white line, 1 to 4 px wide, from top to bottom."""
    x = round(image.width * chance.uniform(0.35, 0.65))
    ImageDraw.Draw(image).rectangle((x, 0, x + chance.randrange(4), image.height), fill=255)
    return jpeg(image)


def made(folder: Path) -> None:
    """Recall on montages by the kind of band, and false votes for a line drawn across one image."""
    paths = sorted((folder / SETS[0]).iterdir())[1::2]
    chance = random.Random(SEED)

    def share(images: Iterable[Image.Image]) -> str:
        return f"{sum('montage=yes' in votes_of(image) for image in images) / MADE:.3f}"

    print("\n| made of MedPix-2.0 | n | montage=yes |\n| --- | --- | --- |")
    for wide, level in ((2, 255), (4, 255), (12, 255), (4, 0), (12, 0), (6, 128), (0, 0)):
        pairs = [chance.sample(paths, 2) for _ in range(MADE)]
        found = share(side_by_side(*map(grey, pair), wide=wide, level=level) for pair in pairs)
        print(f"| a band of {wide} px, level {level} | {MADE} | {found} |")
    ones = (lined(grey(path), chance) for path in chance.sample(paths, MADE))
    print(f"| one image, a white line across (false) | {MADE} | {share(ones)} |")


def sample(folder: Path) -> None:
    """Right, false and missed votes against the truth."""
    truth = [json.loads(line) for line in (folder / "truth.jsonl").read_text("utf-8").splitlines()]
    rows = [(row, votes_of(opened(folder / "images" / row["name"]))) for row in truth]
    print("\n| sample | n | has it | right | false | missed |\n| --- | --- | --- | --- | --- | --- |")
    kinds = {
        "modality=US": lambda row: row["radiology"] and row["modality"] == "US",
        "modality=not_radiology": lambda row: not row["radiology"],
        "technique=doppler": lambda row: False,
        "montage=yes": lambda row: row["montage"],
    }
    for vote, holds in kinds.items():
        found = Counter((bool(holds(row)), vote in votes) for row, votes in rows)
        has = found[True, True] + found[True, False]
        print(f"| {vote} | {len(rows)} | {has} | {found[True, True]} | {found[False, True]} | {found[True, False]} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real", type=Path)
    parser.add_argument("--sample", type=Path)
    given = parser.parse_args()
    real(given.real)
    made(given.real)
    if given.sample:
        sample(given.sample)
