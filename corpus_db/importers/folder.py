"""Read a user's own images with one table (CSV, TSV or JSONL) of captions, or WebDataset shards of both (.tar).

Columns are found by their usual names, in any case of letters. A record keeps its rows as they are; `read` finds the
columns, so that a better reading needs no new import.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from corpus_db.errors import UserError
from corpus_db.importers import medpix2
from corpus_db.importers.base import ENCOUNTER, About, Bad, Files, Given, Media, Record, Trouble, stem, text
from corpus_db.importers.files import parse_json
from corpus_db.reasons import REASONS
from corpus_db.records import CaseRecord, ImageRecord
from corpus_db.store import EXTENSIONS, BadImage
from corpus_db.text import storable

ABOUT = About("folder", "as each image says, else as their owner states", "The user's own images")
_TABLES = ("*.csv", "*.tsv", "*.jsonl", "*.csv.gz", "*.tsv.gz", "*.jsonl.gz")
# files that stand together in it alone: what was imported as a folder would not be known again in a crawl of MedPix
_OF_MEDPIX_2 = (medpix2.CASES, medpix2.IMAGES)
_ENDINGS = (*EXTENSIONS.values(), "jpeg", "tiff")
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
# What a table may call a column; of several that it has, the first is meant.
_COLUMNS = {
    "image": ("image", "image_path", "file", "filename", "file_name", "path", "img"),
    "folder": ("folder",),
    # `finding` comes last: where there are other words, it is one
    "caption": ("caption", "text", "report", "findings", "clinical_notes", "description", "impression", "finding"),
    "key": ("id", "image_id"),
    "case": ("case", "case_id", "study", "study_id"),
    "patient": ("patient", "patient_id", "patientid", "subject_id"),
    "modality": ("modality",),
    "plane": ("plane", "view"),
    "licence": ("licence", "license"),
    "split": ("split",),
    "title": ("title",),
    "sex": ("sex", "gender"),
    "age": ("age",),
    "diagnosis": ("diagnosis", "finding"),
    "credit": ("credit", "source", "attribution", "url", "doi"),
}
Row = dict[str, Any]


def records(files: Files) -> Iterator[Given]:
    """Each case with the rows of its images; raises UserError where there is no table, or none that fits."""
    if files.given.is_dir() and all(files.first(*names) for names in _OF_MEDPIX_2):
        raise UserError(
            f"{files.given}: this is MedPix 2.0, whose images have MedPix's own numbers: python cli.py import medpix2 "
            f"{files.given}; or give one table's own path"
        )
    name, shards = _table(files), _shards(files)
    if name is None and not shards:
        raise UserError(f"{files.given}: neither a table of captions ({', '.join(_TABLES)}) nor a .tar is here")
    cases: dict[str, list[tuple[Row, Media]]] = defaultdict(list)
    seen: set[str] = set()
    captions = broken = readable = False
    unread = ""  # the first row of which no cell can be told
    for place, row, media in _rows(files, name) if name else _packed(files, shards):
        readable |= not isinstance(row, Bad)
        if isinstance(row, Bad) or media is None:
            broken |= row == Bad("broken_archive")
            if isinstance(row, Bad) and not unread:
                unread = f"{place}: {REASONS[row.reason].says}" + (f" ({row.detail})" if row.detail else "")
            yield Trouble(place, *(row if isinstance(row, Bad) else Bad("bad_row", "image")))
        elif media.key in seen:
            yield Trouble(place, "repeated_id")
        elif (column := _column(row, "caption")) and isinstance(row[column], dict | list | bool):
            yield Trouble(place, "bad_row", column)
        else:
            seen.add(media.key)
            captions = captions or _said(row, "caption") is not None
            cases[_case(row, name, media)].append((row, media))
    if unread and not readable and not broken:
        raise UserError(f"{files.given}: no row can be read: {unread}")
    if not captions and not broken:
        what = " or ".join(f"{kind} ({', '.join(_COLUMNS[kind])})" for kind in ("image", "caption"))
        raise UserError(f"{files.given}: no row has both an image and a caption; columns are looked for as {what}")
    for key, rows in cases.items():
        images = [{"key": media.key, "name": media.name, "path": media.path, "row": row} for row, media in rows]
        yield Record(key, {"case": key, "images": images}, tuple(media for _, media in rows))


def _table(files: Files) -> str | None:
    if files.given.is_file():
        return None if files.given.suffix == ".tar" else files.given.name
    found = files.matching(*_TABLES)
    if len(found) > 1:
        raise UserError(f"{files.given}: several tables are here ({', '.join(found)}); give the path of one")
    return next(iter(found), None)


def _shards(files: Files) -> list[str]:
    return [files.given.name] if files.given.is_file() else files.matching("*.tar")


Found = tuple[str, Row | Bad, Media | None]  # where, its row, its image


def _rows(files: Files, name: str) -> Iterator[Found]:
    """Each row of the table."""
    ending = name.removesuffix(".gz").rpartition(".")[2].lower()
    given: Iterator[tuple[int, Row | Bad]]
    given = files.json_lines(name) if ending == "jsonl" else files.rows(name, "\t" if ending == "tsv" else ",")
    count: dict[str, int] = defaultdict(int)
    for number, row in given:
        media = None
        if not isinstance(row, Bad) and (image := _said(row, "image")):
            image = storable(image.replace("\\", "/"))
            count[image] += 1
            # an image may stand in several rows, each with another caption
            own = _said(row, "key") or (image if count[image] == 1 else f"{image}#{count[image]}")
            places = _places(image, _said(row, "folder"))
            file = files.first(*places) or places[0]
            media = Media(f"{_of_table(name)}{storable(own)}", stem(image), file, place=places[-1])
        yield f"{name}:{number}", row, media


def _places(image: str, folder: str | None) -> list[str]:
    """Where an image may lie; the last is what the ledger calls it, wherever it does."""
    return [image, f"images/{image}", f"{storable(folder)}/{image}" if folder else image]


def _packed(files: Files, shards: list[str]) -> Iterator[Found]:
    """Each image in the shards, with what the files of its name up to the first dot say."""
    for shard in shards:
        try:
            members = files.members(shard)
        except BadImage as bad:
            yield shard, Bad(bad.reason), None
            continue
        groups: dict[str, dict[str, str]] = defaultdict(dict)
        for member in members:
            folder, slash, name = member.rpartition("/")
            start, _, ending = name.partition(".")
            groups[folder + slash + start][ending.lower()] = member
        for key, group in groups.items():
            yield from _sample(files, shard, key, group)


def _sample(files: Files, shard: str, key: str, group: Mapping[str, str]) -> Iterator[Found]:
    place = storable(f"{shard}!/{key}")
    images = [member for ending, member in group.items() if ending.rpartition(".")[2] in _ENDINGS]
    row: Row | Bad = {}
    if "json" in group:
        row = _text_of(files, shard, group["json"], parse_json)
    if "txt" in group and isinstance(row, dict):
        told = _text_of(files, shard, group["txt"], lambda said: {"caption": said})
        row = {**row, **told} if isinstance(told, dict) else told
    if not images:
        if "json" in group or "txt" in group:
            yield place, Bad("missing_file"), None
        return
    for member in images:
        name = storable(member)
        yield place, row, Media(f"{stem(shard)}/{name}", stem(name), shard, name)


def _text_of(files: Files, shard: str, member: str, parse: Callable[[str], Any]) -> Row | Bad:
    """What a small file of a shard says."""
    try:
        said = parse(files.content(shard, member).decode("utf-8-sig"))
    except BadImage as bad:
        return Bad(bad.reason)
    except UnicodeDecodeError:
        return Bad("bad_encoding")
    except ValueError:
        return Bad("bad_json")
    return said if isinstance(said, dict) else Bad("bad_json")


def _case(row: Row, name: str | None, media: Media) -> str:
    """The case, else the patient, else the image alone. A case of shards may stand in several of them."""
    own = _said(row, "case") or _said(row, "patient")
    return f"{_of_table(name)}{storable(own)}" if own else media.key


def _of_table(name: str | None) -> str:
    """What the keys of a table's rows begin with, so that two tables can have the same ids."""
    return f"{stem(name.removesuffix('.gz'))}/" if name else ""


def _column(row: Mapping[str, Any], kind: str) -> str | None:
    """The column of this kind, as the row names it."""
    named = {name.strip().lower(): name for name in row}
    return next((named[name] for name in _COLUMNS[kind] if name in named), None)


def _said(row: Mapping[str, Any], kind: str) -> str | None:
    """What a row says in the column of this kind."""
    column = _column(row, kind)
    return None if column is None else text(row, column)


def read(kind: str, body: object) -> CaseRecord | None:
    """The `Reader` of these records."""
    if kind != ENCOUNTER or not isinstance(body, dict) or not (key := text(body, "case")):
        return None
    images = [each for each in body.get("images") or [] if isinstance(each, dict) and isinstance(each.get("row"), dict)]
    rows = [each["row"] for each in images]
    splits = {_SPLITS.get((_said(row, "split") or "").lower()) for row in rows}
    told = {name: _first(rows, name) for name in ("title", "sex", "age", "diagnosis")}
    return CaseRecord(
        key=key,
        patient_key=_first(rows, "patient"),
        split=splits.pop() if len(splits) == 1 else None,  # a case that is in two is for the build to place
        images=tuple(_image(key, each) for each in images),
        **told,
    )


def _first(rows: list[Row], kind: str) -> str | None:
    return next((said for row in rows if (said := _said(row, kind))), None)


def _image(case: str, image: Mapping[str, Any]) -> ImageRecord:
    row = image["row"]
    return ImageRecord(
        key=str(image["key"]),
        case_key=case,
        name=str(image["name"]),
        url=text(image, "path"),
        caption=_said(row, "caption"),
        modality=_said(row, "modality"),
        plane=_said(row, "plane"),
        credit=_said(row, "credit"),
        licence=_said(row, "licence"),
    )
