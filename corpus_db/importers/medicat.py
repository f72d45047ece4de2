"""Read MedICaT (Subramanian et al., 2020): figures of open access papers, and the panels that were marked in some.

As published: one JSON object a figure in s2_full_figures_oa_nonroco_combined_medical_top4_public.jsonl (or a sample of
it), figures/{pdf_hash}_{fig_uri}, and subcaptions_public.jsonl with boxes and captions of panels. The paper is the
case. A figure's panels take its place where they have both a box and a caption: a pair of the whole would repeat them.
Rows that are not `radiology: true` are kept as records, but name no image.
"""

import io
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import groupby
from typing import Any

from PIL import Image

from corpus_db.errors import UserError
from corpus_db.importers.base import (
    ENCOUNTER,
    About,
    Bad,
    Files,
    Given,
    Media,
    Record,
    Trouble,
    images_of,
    lacking,
    stem,
    text,
)
from corpus_db.records import CaseRecord, ImageRecord
from corpus_db.store import EXTENSIONS, BadImage, examine

ABOUT = About(
    "medicat",
    "non-commercial use only; each article's own",
    "Subramanian S, Wang LL, Mehta S, Bogin B, van Zuylen M, Parasa S, Singh S, Gardner M, Hajishirzi H. "
    "MedICaT. Findings of EMNLP 2020. doi:10.18653/v1/2020.findings-emnlp.191",
)
UNSTATED = "Radiology"  # all that MedICaT says of the modality
_FIGURES = "s2_full_figures_oa_nonroco_combined_medical_top4_public.jsonl"
_PANELS = "subcaptions_public.jsonl"
_AS_PNG = ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16")
Row = dict[str, Any]


def records(files: Files) -> Iterator[Given]:
    """Each figure, with its panels where they are marked."""
    panels: dict[str, tuple[str, Row]] = {}
    if files.first(_PANELS):
        yield from _load_panels(files, panels)
    seen: set[str] = set()
    for name in _figure_files(files):
        for number, row in files.json_lines(name):
            key = _key(row)
            if isinstance(row, Bad) or isinstance(key, Bad) or key in seen:
                yield Trouble(f"{name}:{number}", *(key if isinstance(key, Bad) else Bad("repeated_id")))
                continue
            seen.add(key)
            yield _record(key, row, panels.pop(key, ("", {}))[1])
    yield from (Trouble(place, "unknown_id") for place, _ in panels.values())


def _figure_files(files: Files) -> list[str]:
    if files.given.is_file():
        return [files.given.name]
    found = [_FIGURES] if files.first(_FIGURES) else [name for name in files.matching("*.jsonl") if name != _PANELS]
    if not found:
        raise UserError(f"{files.given}: no *.jsonl here; give the folder that MedICaT was unpacked into")
    return found


def _load_panels(files: Files, panels: dict[str, tuple[str, Row]]) -> Iterator[Trouble]:
    for number, row in files.json_lines(_PANELS):
        place, key = f"{_PANELS}:{number}", _key(row)
        if isinstance(row, Bad) or isinstance(key, Bad) or key in panels:
            yield Trouble(place, *(key if isinstance(key, Bad) else Bad("repeated_id")))
        else:
            panels[key] = place, row


def _key(row: Row | Bad) -> str | Bad:
    if isinstance(row, Bad):
        return row
    paper, figure = text(row, "pdf_hash"), text(row, "fig_uri")
    return f"{paper}_{stem(figure)}" if paper and figure else Bad("bad_row", lacking(row, "pdf_hash", "fig_uri"))


def _record(key: str, row: Row, marked: Row) -> Record:
    paper, file = text(row, "pdf_hash"), f"figures/{text(row, 'pdf_hash')}_{text(row, 'fig_uri')}"
    if row.get("radiology") is not True:
        return Record(key, {"pdf_hash": paper, "row": row, "images": []})
    found = [
        ({"panel": label, "subcaption": caption}, Media(f"{key}#{label}", f"{key}#{label}", file, part=box))
        for label, caption, box in _panels(marked)
    ]
    found = found or [({}, Media(key, key, file))]
    # all that is said of an image stands with it, so that a takedown leaves none of it
    images = [{**row, **panel, "key": media.key, "path": media.path} for panel, media in found]
    return Record(key, {"pdf_hash": paper, "images": images}, tuple(media for _, media in found))


def _panels(marked: Row) -> Iterator[tuple[str, str, str]]:
    """(letter, caption, box) of each panel that has both; the first of a letter."""
    spans, captions = marked.get("subfigures") or marked.get("spans"), marked.get("subcaptions")
    if not (isinstance(spans, list) and isinstance(captions, dict)) or marked.get("answer", "accept") != "accept":
        return
    seen = set()
    for span in spans:
        label = text(span, "label") if isinstance(span, dict) else None
        box, caption = _box(span.get("points"), marked) if label else None, _caption(captions.get(label), marked)
        if label and box and caption and label not in seen:
            seen.add(label)
            yield label, caption, box


def _box(points: Any, marked: Row) -> str | None:
    """The upright box round some points, in whole pixels, within the figure."""
    with suppress(TypeError, ValueError, IndexError, OverflowError):
        xs, ys = ([round(float(point[axis])) for point in points] for axis in (0, 1))
        right, bottom = (int(marked.get(name) or 2**31) for name in ("width", "height"))
        box = max(min(xs), 0), max(min(ys), 0), min(max(xs), right), min(max(ys), bottom)
        return ",".join(map(str, box)) if box[0] < box[2] and box[1] < box[3] else None
    return None


def _caption(said: Any, marked: Row) -> str | None:
    """The words of the figure's caption that belong to a panel: its tokens, by number, with what is between them."""
    if isinstance(said, str):
        return said.strip() or None
    whole = str(marked.get("text") or "")
    with suppress(TypeError, ValueError, IndexError, KeyError, AttributeError):
        tokens = {token.get("id", place): token for place, token in enumerate(marked["tokens"])}
        numbers = sorted({int(number) for number in said})
        runs = [list(run) for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])]
        ends = [(tokens[run[0][1]], tokens[run[-1][1]]) for run in runs]
        return " ".join(whole[first["start"] : last["end"]].strip() for first, last in ends).strip() or None
    return None


def render(body: bytes, part: str | None) -> bytes:
    """The figure's own bytes, or its panel in a box "left,upper,right,lower" as PNG; raises BadImage."""
    if part is None:
        return body
    told = examine(body)  # decodes all of it, with the store's limits
    box = re.fullmatch(r"(\d+),(\d+),(\d+),(\d+)", part, re.ASCII)
    left, upper, right, lower = map(int, box.groups()) if box else (0, 0, 0, 0)
    if not (left < right <= told.width and upper < lower <= told.height):
        raise BadImage("broken_image")
    made = io.BytesIO()
    with Image.open(io.BytesIO(body), formats=tuple(EXTENSIONS)) as image:
        panel = image.crop((left, upper, right, lower))
        panel = panel if panel.mode in _AS_PNG else panel.convert("RGB")
        panel.save(made, "PNG")
    return made.getvalue()


def read(kind: str, body: object) -> CaseRecord | None:
    """The `Reader` of these records: one case for all figures of a paper."""
    if kind != ENCOUNTER or not isinstance(body, dict) or not (paper := text(body, "pdf_hash")):
        return None
    rows = images_of(body)
    return CaseRecord(paper, images=tuple(_image(paper, row) for row in rows)) if rows else None


def _image(paper: str, row: Row) -> ImageRecord:
    access = row["oa_info"] if isinstance(row.get("oa_info"), dict) else {}
    captions = (row.get(name) for name in ("subcaption", "s2_caption", "s2orc_caption"))
    return ImageRecord(
        key=str(row["key"]),
        case_key=paper,
        name=str(row["key"]),
        url=text(row, "path"),
        caption=next((caption for caption in captions if isinstance(caption, str) and caption.strip()), None),
        modality=UNSTATED,
        plane=None,
        figure_part=text(row, "panel"),
        credit=text(access, "doi_url", "doi"),
        licence=text(access["oa"], "license") if isinstance(access.get("oa"), dict) else None,
    )
