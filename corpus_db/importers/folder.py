"""Read a user's own images with one table (CSV, TSV or JSONL) of captions, or WebDataset shards of both (.tar).

Columns are found by their usual names, in any case of letters. A record keeps its rows as they are; `read` finds the
columns, so that a better reading needs no new import.
"""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from corpus_db.errors import UserError
from corpus_db.importers.base import ENCOUNTER, About, Files, Given, Media, Record, Trouble, stem, text
from corpus_db.records import CaseRecord, ImageRecord
from corpus_db.store import EXTENSIONS, BadImage
from corpus_db.text import storable

ABOUT = About("folder", "as each image says, else as their owner states", "The user's own images")
_TABLES = ("*.csv", "*.tsv", "*.jsonl", "*.csv.gz", "*.tsv.gz", "*.jsonl.gz")
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
    name, shards = _table(files), _shards(files)
    if name is None and not shards:
        raise UserError(f"{files.given}: neither a table of captions ({', '.join(_TABLES)}) nor a .tar is here")
    cases: dict[str, list[tuple[Row, Media]]] = defaultdict(list)
    seen: set[str] = set()
    captions = broken = False
    for place, row, media in _rows(files, name) if name else _packed(files, shards):
        if not isinstance(row, dict) or media is None:
            broken |= row == "broken_archive"
            yield Trouble(place, row if isinstance(row, str) else "bad_row")
        elif media.key in seen:
            yield Trouble(place, "bad_row")
        else:
            seen.add(media.key)
            try:
                told = _json(row)
            except RecursionError:  # lists in lists in lists
                yield Trouble(place, "bad_row")
                continue
            captions = captions or _said(row, "caption") is not None
            cases[_case(row, name, media)].append((told, media))
    if not captions and not broken:
        what = " or ".join(f"{kind} ({', '.join(_COLUMNS[kind])})" for kind in ("image", "caption"))
        raise UserError(f"{files.given}: no row has both an image and a caption; columns are looked for as {what}")
    for key, rows in cases.items():
        images = [{"key": media.key, "name": media.name, "path": media.path, "row": row} for row, media in rows]
        yield Record(key, {"case": key, "images": images}, tuple(media for _, media in rows))


def _json(value: Any) -> Any:
    """The same without NaN and infinities, which many write as JSON and PostgreSQL does not take."""
    if isinstance(value, dict):
        return {name: _json(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _table(files: Files) -> str | None:
    if files.given.is_file():
        return None if files.given.suffix == ".tar" else files.given.name
    found = files.matching(*_TABLES)
    if len(found) > 1:
        raise UserError(f"{files.given}: several tables are here ({', '.join(found)}); give the path of one")
    return next(iter(found), None)


def _shards(files: Files) -> list[str]:
    return [files.given.name] if files.given.is_file() else files.matching("*.tar")


Found = tuple[str, Row | str | None, Media | None]  # where, its row or a reason, its image


def _rows(files: Files, name: str) -> Iterator[Found]:
    """Each row of the table."""
    ending = name.removesuffix(".gz").rpartition(".")[2].lower()
    given: Iterator[tuple[int, Row | None]]
    given = files.json_lines(name) if ending == "jsonl" else files.rows(name, "\t" if ending == "tsv" else ",")
    count: dict[str, int] = defaultdict(int)
    for number, row in given:
        media = None
        if row is not None and (image := _said(row, "image")):
            image = storable(image.replace("\\", "/"))
            count[image] += 1
            # an image may stand in several rows, each with another caption
            own = _said(row, "key") or (image if count[image] == 1 else f"{image}#{count[image]}")
            file = _file(files, image, _said(row, "folder"))
            media = Media(key=f"{_of_table(name)}{storable(own)}", name=stem(image), file=file)
        yield f"{name}:{number}", row, media


def _file(files: Files, image: str, folder: str | None) -> str:
    """Where an image lies; as given where it does not."""
    places = [image, f"images/{image}", *([f"{storable(folder)}/{image}"] if folder else [])]
    return files.first(*places) or image


def _packed(files: Files, shards: list[str]) -> Iterator[Found]:
    """Each image in the shards, with what the files of its name up to the first dot say."""
    for shard in shards:
        try:
            members = files.members(shard)
        except BadImage as bad:
            yield shard, bad.reason, None
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
    row: Row | str = {}
    if "json" in group:
        row = _text_of(files, shard, group["json"], json.loads)
    if "txt" in group and isinstance(row, dict):
        told = _text_of(files, shard, group["txt"], lambda said: {"caption": said})
        row = {**row, **told} if isinstance(told, dict) else told
    if not images:
        if "json" in group or "txt" in group:
            yield place, "missing_file", None
        return
    for member in images:
        name = storable(member)
        yield place, row, Media(f"{stem(shard)}/{name}", stem(name), shard, name)


def _text_of(files: Files, shard: str, member: str, parse: Callable[[str], Any]) -> Row | str:
    """What a small file of a shard says; the reason why not."""
    try:
        said = parse(files.content(shard, member).decode("utf-8-sig"))
    except BadImage as bad:
        return bad.reason
    except UnicodeDecodeError:
        return "bad_encoding"
    except (ValueError, RecursionError):
        return "bad_json"
    return said if isinstance(said, dict) else "bad_json"


def _case(row: Row, name: str | None, media: Media) -> str:
    """The case, else the patient, else the image alone. A case of shards may stand in several of them."""
    own = _said(row, "case") or _said(row, "patient")
    return f"{_of_table(name)}{storable(own)}" if own else media.key


def _of_table(name: str | None) -> str:
    """What the keys of a table's rows begin with, so that two tables can have the same ids."""
    return f"{stem(name.removesuffix('.gz'))}/" if name else ""


def _said(row: Mapping[str, Any], kind: str) -> str | None:
    """What a row says in the column of this kind."""
    named = {str(name).strip().lower(): value for name, value in row.items()}
    column = next((name for name in _COLUMNS[kind] if name in named), None)
    return None if column is None else text(named, column)


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
