"""Read ROCO (Pelka et al., 2018) and ROCOv2 (Rückert et al., 2024): figures of articles in PubMed Central.

ROCO as published: data/{train,validation,test}/{radiology,non-radiology}/ with captions.txt, what else is said of each
row in files beside it, and images/; or flat, as test_radiology_captions.txt. ROCOv2: train_captions.csv and so on, with
train_images.zip or what was unpacked of it. A row is a record; the article is the case, since its figures share a
patient. ROCO's own split parts articles, so it is kept in the record alone. Rows that ROCO calls non-radiology are kept
as records, too, but name no image.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from corpus_db.importers.base import ENCOUNTER, About, Bad, Files, Given, Media, Record, Trouble, images_of, stem, text
from corpus_db.records import CaseRecord, ImageRecord
from corpus_db.store import BadImage

ABOUT = About(
    "roco",
    "each article's own",
    "Pelka O, Koitka S, Rückert J, Nensa F, Friedrich CM. LABELS 2018, LNCS 11043. doi:10.1007/978-3-030-01364-6_20; "
    "ROCOv2: Rückert J et al. Sci Data 11, 688 (2024). doi:10.1038/s41597-024-03496-6",
)
RADIOLOGY = "radiology"
UNSTATED = "Radiology"  # all that ROCO says of the modality
_ROOTS = ("data/", "all_data/", "")
_KINDS = (RADIOLOGY, "non-radiology")
_SIDES = ("dlinks.txt", "licences.txt", "keywords.txt", "cuis.txt", "semtypes.txt")
_ID = re.compile(r"ROCO\w+", re.ASCII)
_ARTICLE = re.compile(r"PMC\d+")
_LICENCE = re.compile(r"CC[ -](?:BY(?:-NC|-ND|-SA)*|0)\b")
# the concept of the modality that ROCOv2's authors gave each image by hand -> a modality string
_MODALITIES = {
    "C0002978": "AN - Angiogram",
    "C0024485": "MRI",
    "C0032743": "PET - Positron Emission",
    "C0040405": "CT",
    "C0041618": "US - Ultrasound",
    "C1306645": "XR - Plain Film",
    "C1699633": "PET-CT Fusion",
}
Row = dict[str, Any]


@dataclass(frozen=True)
class _Part:
    """The rows of one split and kind: their captions, what else is said of them, where their images may be."""

    split: str
    kind: str
    captions: str
    sides: Sequence[str]
    folders: Sequence[str]
    archive: str | None = None


def records(files: Files) -> Iterator[Given]:
    """Each row of each captions file; what other files say of it is joined by its id."""
    parts = [*_parts(files), *_second_parts(files)]
    if not parts:
        files.need("ROCO", "data/train/radiology/captions.txt", "train_radiology_captions.txt", "train_captions.csv")
    seen: set[str] = set()
    sides: dict[str, dict[str, tuple[str, Row]]] = {}  # file -> id -> (its place, what it says)
    for part in parts:
        for name in part.sides:
            if name not in sides:
                yield from _load(files, name, sides.setdefault(name, {}))
        members: dict[str, str] = {}
        try:
            members = {stem(name): name for name in files.members(part.archive)} if part.archive else {}
        except BadImage as bad:
            yield Trouble(str(part.archive), bad.reason)
        for place, row in _rows(files, part.captions):
            if isinstance(row, Bad) or row["id"] in seen:
                yield Trouble(place, *(row if isinstance(row, Bad) else Bad("repeated_id")))
                continue
            seen.add(row["id"])
            for name in part.sides:
                row |= sides[name].pop(row["id"], ("", {}))[1]
            yield _record(files, part, row, members)
    for told in sides.values():  # rows that no caption belongs to
        yield from (Trouble(place, "unknown_id") for place, _ in told.values())


def _parts(files: Files) -> Iterator[_Part]:
    for split in ("train", "validation", "test"):
        for kind in _KINDS:
            flat = f"{split}_{kind}_"
            found = files.first(*(f"{root}{split}/{kind}/captions.txt" for root in _ROOTS), f"{flat}captions.txt")
            if found:
                prefix = found.removesuffix("captions.txt")
                sides = [name for side in _SIDES if (name := files.first(prefix + side))]
                yield _Part(split, kind, found, sides, ["images/", ""] if prefix == flat else [f"{prefix}images/"])


def _second_parts(files: Files) -> Iterator[_Part]:
    for split in ("train", "valid", "test"):
        if captions := files.first(f"{split}_captions.csv"):
            names = (f"{split}_concepts.csv", f"{split}_concepts_manual.csv", "license_information.csv")
            sides = [name for name in names if files.first(name)]
            folders = [f"{split}_images/", f"{split}_images/{split}/", f"{split}/", "images/"]
            yield _Part(split, RADIOLOGY, captions, sides, folders, files.first(f"{split}_images.zip"))


def _load(files: Files, name: str, told: dict[str, tuple[str, Row]]) -> Iterator[Trouble]:
    for place, row in _rows(files, name):
        if isinstance(row, Bad) or row["id"] in told:
            yield Trouble(place, *(row if isinstance(row, Bad) else Bad("repeated_id")))
        else:
            told[row["id"]] = place, row


def _rows(files: Files, name: str) -> Iterator[tuple[str, Row | Bad]]:
    """(its place, what it says) of each line."""
    what = stem(name).rpartition("_")[2]
    if name.endswith(".csv") or what == "licences":
        manual = name.endswith("_manual.csv")
        for number, row in files.rows(name):
            if isinstance(row, Bad):
                yield f"{name}:{number}", row
                continue
            named = {column.strip(): value for column, value in row.items()}
            given: Row = {"id": named.pop("ID", None) or named.pop("ROCO_ID", None)} | named
            if manual:
                given["CUIs manual"] = given.pop("CUIs", None)
            yield f"{name}:{number}", given if _ID.fullmatch(given["id"] or "") else Bad("bad_row", "id")
        return
    for number, line in files.lines(name):
        if isinstance(line, Bad):
            yield f"{name}:{number}", line
        elif line.strip():
            yield f"{name}:{number}", _line(what, line)


def _line(what: str, line: str) -> Row | Bad:
    key, tab, rest = line.partition("\t")
    if not tab or not _ID.fullmatch(key):
        return Bad("bad_row", "id" if tab else "no tab")
    said = _said(what, rest)
    return Bad("bad_row", what) if said is None else {"id": key} | said


def _said(what: str, rest: str) -> Row | None:
    """What a line says after its id."""
    if what == "captions":
        return {"caption": rest.removeprefix(" ")}  # every caption has that space
    fields = rest.split("\t")
    if what != "dlinks":
        return {what: [value for value in fields if value]}
    address = next((word for word in fields[0].split() if "://" in word), None)  # wget -r ADDRESS -P /path/to/Dir
    return {"dlink": address, "figure": fields[1]} if address and len(fields) == 2 else None


def _record(files: Files, part: _Part, row: Row, members: Mapping[str, str]) -> Record:
    key = row.pop("id")
    fields = (text(row, name) or "" for name in ("PMC_ID", "PMCID", "dlink", "Link"))
    article = next((found[0] for found in map(_ARTICLE.search, fields) if found), None)
    body: Row = {"article": article, "split": part.split, "kind": part.kind}
    if part.kind != RADIOLOGY:
        return Record(key, body | {"row": row, "images": []})
    # scripts/fetch.py names an image PMC4608653_cro-0008-0385-g01.jpg, copies of the set ROCO_00001.jpg
    own = text(row, "PMC_ID") or (f"{article}_{row['figure']}" if "figure" in row else None)
    names = [f"{folder}{name}" for folder in part.folders for name in (f"{key}.jpg", own) if name]
    if key in members:
        media = Media(key, key, str(part.archive), members[key], place=names[0])
    else:
        media = Media(key, key, files.first(*names) or names[0], place=names[0])
    return Record(key, body | {"images": [{**row, "key": key, "path": media.path}]}, (media,))


def read(kind: str, body: object) -> CaseRecord | None:
    """The `Reader` of these records: one case for all rows of an article, or the image itself where none is named."""
    if kind != ENCOUNTER or not isinstance(body, dict) or body.get("kind") != RADIOLOGY:
        return None
    rows = images_of(body)
    case = text(body, "article") or (text(rows[0], "key") if rows else None)
    return CaseRecord(case, images=tuple(_image(case, row) for row in rows)) if case else None


def _image(case: str, row: Row) -> ImageRecord:
    attribution = text(row, "Attribution")  # ROCOv2: CC BY [Author et al. (2020)]
    licence = _LICENCE.search(attribution or "")
    concepts = re.findall(r"C\d{7}", str(row.get("CUIs manual")))
    return ImageRecord(
        key=str(row["key"]),
        case_key=case,
        name=str(row["key"]),
        url=text(row, "path"),
        caption=next((row[name] for name in ("caption", "Caption") if isinstance(row.get(name), str)), None),
        modality=next((_MODALITIES[concept] for concept in concepts if concept in _MODALITIES), UNSTATED),
        plane=None,
        credit=attribution,
        licence=text(row, "CC") or (licence[0] if licence else None),
    )
