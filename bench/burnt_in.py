"""How much burnt-in text the cheap detector finds, and how often it suspects an image as it is.

    python bench/burnt_in.py FOLDER...           # folders of images: text is drawn into those that have none
    python bench/burnt_in.py --truth SAMPLE      # a folder of `cli.py sample`: images beside truth.jsonl

The first prints the share of images as they are that are suspect, then recall by font size: lines of text in several
fonts, places and grey levels, drawn into images without any suspicion (below two thirds of the threshold).
"""

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from corpus_db.burnt_in import SUSPECT, suspects  # noqa: E402

SIZES = (8, 10, 12, 14, 18, 24, 32)
TEXTS = ("DOE^JANE 12-03-1961", "W 350 L 40", "General Hospital", "SE: 4 IM: 27", "Ref: 0041877", "SUPINE PORTABLE")
FACES = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSansMono.ttf", "DejaVuSerif.ttf")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--truth", type=Path)
    parser.add_argument("--images", type=int, default=150, help="of each folder, taken at random")
    arguments = parser.parse_args()
    if arguments.truth:
        score_sample(arguments.truth)
    if arguments.folders:
        score_drawn(arguments.folders, arguments.images)


def score_sample(folder: Path) -> None:
    """Recall and precision against a sample's truth, which tells what was burnt in."""
    found: Counter[tuple[str, bool]] = Counter()
    for line in (folder / "truth.jsonl").read_text().splitlines():
        row = json.loads(line)
        path = folder / "images" / row["name"]
        if path.is_file():
            with Image.open(path) as image:
                longest = max((len(text["text"].replace(" ", "")) for text in row["burnt_in"]), default=0)
                kind = "none" if not longest else "line" if longest >= SUSPECT else "mark"
                found[kind, suspects(image) >= SUSPECT] += 1
    print(f"\n| {folder.name}: burnt in | images | suspect |\n| --- | ---: | ---: |")
    for kind, says in (
        ("line", f"a text of {SUSPECT:g} glyphs or more"),
        ("mark", "shorter marks"),
        ("none", "nothing"),
    ):
        print(f"| {says} | {found[kind, True] + found[kind, False]} | {found[kind, True]} |")


def score_drawn(folders: list[Path], count: int) -> None:
    """The suspect rate of images as they are, and recall on text drawn into those that are clean."""
    chance, clean = random.Random(0), []
    print("| images as they are | read | suspect |\n| --- | ---: | ---: |")
    for folder in folders:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
        scores = {
            path: score for path in chance.sample(paths, min(count, len(paths))) if (score := _score(path)) is not None
        }
        print(f"| {folder.parent.name} | {len(scores)} | {sum(score >= SUSPECT for score in scores.values())} |")
        clean += [path for path, score in scores.items() if score < SUSPECT * 2 / 3]
    print(f"\n{len(clean)} images without suspicion; one line drawn into each\n\n| font size | found | of | recall |")
    print("| ---: | ---: | ---: | ---: |")
    for size in SIZES:
        found = [suspects(image) >= SUSPECT for image in drawn(clean, size, chance)]
        print(f"| {size} | {sum(found)} | {len(found)} | {sum(found) / len(found):.3f} |")


def _score(path: Path) -> float | None:
    with Image.open(path) as image:
        return suspects(image) if image.width * image.height < 2**24 else None


def drawn(paths: list[Path], size: int, chance: random.Random) -> Iterator[Image.Image]:
    """Each image, at most 512 pixels long, with one line of text somewhere: in a corner twice out of three times."""
    for path in paths:
        with Image.open(path) as opened:
            image = opened.convert("L")
        image.thumbnail((512, 512))
        text, font = chance.choice(TEXTS), _font(size, chance)
        pen = ImageDraw.Draw(image)
        left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
        room = max(0, image.width - int(right - left) - 4), max(0, image.height - int(bottom - top) - 4)
        at = tuple(chance.choice((4, most)) if chance.random() < 2 / 3 else chance.randint(0, most) for most in room)
        pen.text((at[0], at[1]), text, fill=chance.choice((160, 200, 255, 255)), font=font)
        yield image


def _font(size: int, chance: random.Random) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    face = chance.choice((None, *FACES))
    if face is None:
        return ImageFont.load_default(size)
    try:
        return ImageFont.truetype(face, size)
    except OSError:  # this machine lacks it
        return ImageFont.load_default(size)


if __name__ == "__main__":
    main()
