"""Draw docs/img/dicom.png: the first frame of each of pydicom's own DICOM files, as `import dicom` shows it.

    python bench/dicom_sheet.py [--out docs/img/dicom.png]

A file that is refused has its reason in its place. Needs the extra `dicom` for all that it can show.
"""

import argparse
import io
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import pydicom
from PIL import Image, ImageDraw, ImageFont

from corpus_db.importers import dicom, dicom_pixels
from corpus_db.store import BadImage

BUNDLED = Path(pydicom.__file__).parent / "data"
SIDE, LINE, ACROSS = 94, 10, 12


def cell(name: str, body: bytes, counts: Counter[str]) -> Image.Image:
    made = Image.new("RGB", (SIDE + 4, SIDE + 3 * LINE), "white")
    draw, font = ImageDraw.Draw(made), ImageFont.load_default(9)
    try:
        count = dicom_pixels.frames(dicom_pixels.read(body))
        shown = Image.open(io.BytesIO(dicom.render(body, "1")))
        size = f"{shown.width}x{shown.height}" + (f", {count} frames" if count > 1 else "")
        scale = SIDE / max(shown.size)
        shown = shown.resize(tuple(max(1, round(side * scale)) for side in shown.size), Image.Resampling.BOX)
        made.paste(shown, ((SIDE - shown.width) // 2, (SIDE - shown.height) // 2))
        counts["shown"] += 1
    except BadImage as bad:
        draw.rectangle((0, 0, SIDE - 1, SIDE - 1), outline="#b00")
        draw.text((SIDE // 2, SIDE // 2), bad.reason.replace("_", "\n"), "#b00", font, "mm", align="center")
        size = "refused"
        counts[bad.reason] += 1
    short = name.removesuffix(".dcm")
    for row, words in enumerate((short[:17], short[17:34], size)):
        draw.text((0, SIDE + row * LINE - 1), words, "#333" if row < 2 else "#777", font)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("docs/img/dicom.png"))
    out = parser.parse_args().out
    counts: Counter[str] = Counter()
    cells = []
    for path in sorted(BUNDLED.rglob("*")):
        if path.is_file() and (body := path.read_bytes())[128:132] == b"DICM" and "PixelData" in pydicom.dcmread(path):
            cells.append(cell(path.name, body, counts))
    width, height = cells[0].size
    sheet = Image.new("RGB", (ACROSS * width, -(-len(cells) // ACROSS) * height), "white")
    for number, each in enumerate(cells):
        sheet.paste(each, (number % ACROSS * width, number // ACROSS * height))
    sheet.quantize(256, dither=Image.Dither.NONE).save(out, optimize=True)
    print(f"{out}: {len(cells)} files, {out.stat().st_size:,} bytes; {dict(counts)}")


if __name__ == "__main__":
    main()
