"""Draw a contact sheet of a sample: a row a modality, each image with its clean caption under it.

python -m rgc.phantom.sheet DIR -o FILE.png [--columns 6] [--boxes]
"""

from __future__ import annotations

import argparse
import json
import textwrap
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from rgc.phantom.overlay import FONT

CELL, TEXT, LINES = 184, 62, 5  # px of an image's square and of the text under it; lines of text
ROWS = ("CT", "MR", "DX", "US", "NM")


def choose(truth: list[dict[str, Any]], columns: int) -> list[dict[str, Any]]:
    """Rows of truth for the sheet: per modality, regions in turn, images with a finding first."""
    chosen = []
    for modality in ROWS:
        fitting = [r for r in truth if r["modality"] == modality and r["duplicate_of"] is None and not r["montage"]]
        taken: list[dict[str, Any]] = []
        seen: dict[tuple[object, ...], int] = {}
        # Least seen region first, then plane and sequence; the order of the file decides between equals.
        while fitting and len(taken) < columns:
            best = min(
                fitting,
                key=lambda r: (
                    seen.get((r["region"],), 0),
                    seen.get((r["plane"], r["sequence"]), 0),
                    r["finding"] is None,
                    seen.get((r["finding"],), 0),
                ),
            )
            fitting.remove(best)
            taken.append(best)
            for key in ((best["region"],), (best["plane"], best["sequence"]), (best["finding"],)):
                seen[key] = seen.get(key, 0) + 1
        chosen += taken
    return chosen


def sheet(directory: Path, columns: int = 6, boxes: bool = False) -> Image.Image:
    """The contact sheet of a sample folder, mode "L"; `boxes` frames the findings."""
    text = (directory / "truth.jsonl").read_text(encoding="utf-8")
    rows = choose([json.loads(line) for line in text.split("\n") if line], columns)
    page = Image.new("L", (columns * CELL, -(-len(rows) // columns) * (CELL + TEXT)), 255)
    pen = ImageDraw.Draw(page)
    for n, row in enumerate(rows):
        x, y = n % columns * CELL, n // columns * (CELL + TEXT)
        image = Image.open(directory / "images" / row["name"]).convert("L")
        if boxes and row["box"]:
            x0, y0, x1, y1 = row["box"]
            ImageDraw.Draw(image).rectangle([x0 - 2, y0 - 2, x1 + 1, y1 + 1], outline=255)
        image.thumbnail((CELL - 4, CELL - 4), Image.Resampling.BOX)
        pen.rectangle([x + 2, y + 2, x + CELL - 3, y + CELL - 3], fill=0)
        page.paste(image, (x + (CELL - image.width) // 2, y + (CELL - image.height) // 2))
        said = row["clean_caption"] or f"[{row['drop_reason']}]"
        for k, line in enumerate(textwrap.wrap(said, 30)[:LINES]):
            pen.text((x + 3, y + CELL + 11 * k), line.encode("ascii", "replace").decode(), fill=0, font=FONT)
    return page


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Draw a contact sheet of a sample folder.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--columns", type=int, default=6)
    parser.add_argument("--boxes", action="store_true", help="frame the findings")
    options = parser.parse_args()
    page = sheet(options.directory, options.columns, options.boxes)
    # Coarser greys keep the file small enough for a page of docs.
    page.point([v // 7 * 7 if v < 255 else 255 for v in range(256)]).save(options.output, optimize=True)


if __name__ == "__main__":
    main()
