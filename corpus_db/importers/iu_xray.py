"""Read IU X-Ray (Demner-Fushman et al., 2016), Indiana University's chest radiographs with their reports.

Three forms are about. R2Gen's annotation.json says which pictures and which split a report has; the Indiana CSVs say
each section of a report and each picture's view; Open-i's own ecgen-radiology XML says both but the view. Where the
first two lie in one folder, a case is told by both, and a report that the annotation leaves out has no split.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

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
    folded,
    images_of,
    stem,
    text,
)
from corpus_db.records import CaseRecord, ImageRecord
from corpus_db.store import BadImage

ABOUT = About(
    "iu-xray",
    "CC BY-NC-ND 4.0",
    "Demner-Fushman D, Kohli MD, Rosenman MB, Shooshan SE, Rodriguez L, Antani S, Thoma GR, McDonald CJ. "
    "J Am Med Inform Assoc 23(2), 304-310 (2016). doi:10.1093/jamia/ocv080",
)
_ANNOTATIONS = ("annotation.json", "serpent_annotation.json")
_REPORTS, _PROJECTIONS = "indiana_reports.csv", "indiana_projections.csv"
_XML = ("*.xml", "ecgen-radiology/*.xml", "NLMCXR_reports/*.xml", "NLMCXR_reports/ecgen-radiology/*.xml")
_MAX_XML = 2**20  # bytes; a report has some thousand
_IMAGE_FOLDERS = ("images/", "images/images_normalized/", "images_normalized/", "NLMCXR_png/", "png/", "")
_SPLITS = {"train": "train", "val": "val", "test": "test", "": "test"}  # a published file names its test set "    "
_SECTIONS = ("comparison", "indication", "findings", "impression")
_RADIOGRAPH = re.compile(r"(?:CXR)?(\d+)_(?:\d+_)?(IM-[\d-]+)")
_UID = re.compile(r"(?:CXR)?(\d+)(?:_.*)?")


def records(files: Files) -> Iterator[Given]:
    """Each report with its pictures, in whichever forms the folder has."""
    annotation, tables = _annotation(files), files.first(_REPORTS)
    if annotation is None and tables is None:
        yield from _from_xml(files)
        return
    rows: dict[str, dict[str, str]] = {}
    views: dict[str, dict[str, str]] = defaultdict(dict)  # uid -> picture's file -> frontal or lateral
    if tables is not None:
        yield from _read_tables(files, rows, views)
    if annotation is not None:
        yield from _from_annotation(files, annotation, rows, views)
    for uid in dict.fromkeys([*rows, *views]):
        yield _record(files, uid, rows.get(uid, {}), views.get(uid, {}))


def radiograph(name: str) -> str:
    """A picture's name as all forms may share it: CXR1_IM-0001-3001 for 1_IM-0001-3001.dcm.png."""
    found = _RADIOGRAPH.match(name.rpartition("/")[2])
    return f"CXR{found[1]}_{found[2]}" if found else stem(name)


def _annotation(files: Files) -> str | None:
    """The annotation to read: the file that was given, else the one of the usual name, else the only one there."""
    if files.given.is_file() and files.given.suffix == ".json":
        return files.given.name
    if usual := files.first(*_ANNOTATIONS):
        return usual
    found = files.matching("*annotation*.json")
    if len(found) > 1:
        raise UserError(f"{files.given}: several annotations ({', '.join(found)}); give the path of one")
    return found[0] if found else None


def _from_annotation(
    files: Files, name: str, rows: dict[str, dict[str, str]], views: dict[str, dict[str, str]]
) -> Iterator[Given]:
    """The cases of an annotation; takes what the tables say of them out of `rows` and `views`."""
    parts = files.json(name)
    if not isinstance(parts, dict) or not all(isinstance(part, list) for part in parts.values()):
        raise UserError(f"{files.root / name}: not an annotation of R2Gen's form; fetch it anew")
    seen = set()
    for part, entries in parts.items():
        for number, entry in enumerate(entries, 1):
            place = f"{name}:{part.strip() or 'test'}:{number}"
            if not isinstance(entry, dict):
                yield Trouble(place, "not_an_object")
                continue
            split = _SPLITS.get(str(entry.get("split") or part).strip())
            uid = _UID.fullmatch(text(entry, "id") or "")
            paths = _names(entry.get("image_path"))
            if uid is None or split is None or not paths:
                yield Trouble(place, "bad_row", "id" if uid is None else "split" if split is None else "image_path")
                continue
            if uid[1] in seen:
                yield Trouble(place, "repeated_id")
                continue
            seen.add(uid[1])
            known = {radiograph(file): view for file, view in views.pop(uid[1], {}).items()}
            told = rows.pop(uid[1], {}) | {"report": text(entry, "report") or "", "split": split}
            yield _record(files, uid[1], told, {path: known.get(radiograph(path), "") for path in paths})


def _names(paths: Any) -> list[str]:
    whole = isinstance(paths, list) and all(isinstance(path, str) and path for path in paths)
    return paths if whole else []


def _read_tables(files: Files, rows: dict[str, dict[str, str]], views: dict[str, dict[str, str]]) -> Iterator[Trouble]:
    for number, row in files.rows(_REPORTS):
        uid = "" if isinstance(row, Bad) else row.get("uid", "").strip()
        if isinstance(row, Bad) or not _UID.fullmatch(uid):
            yield Trouble(f"{_REPORTS}:{number}", *(row if isinstance(row, Bad) else Bad("bad_row", "uid")))
        elif uid in rows:
            yield Trouble(f"{_REPORTS}:{number}", "repeated_id")
        else:
            rows[uid] = row
    for number, row in files.rows(files.need("the Indiana CSVs", _PROJECTIONS)):
        place = f"{_PROJECTIONS}:{number}"
        if isinstance(row, Bad):
            yield Trouble(place, *row)
            continue
        uid, file = (row.get(name, "").strip() for name in ("uid", "filename"))
        if not _UID.fullmatch(uid) or not file:
            yield Trouble(place, "bad_row", "filename" if _UID.fullmatch(uid) else "uid")
        else:
            views[uid][file] = row.get("projection", "")


def _from_xml(files: Files) -> Iterator[Given]:
    names = files.matching(*_XML)
    if not names:
        raise UserError(f"{files.given}: neither R2Gen's annotation.json, {_REPORTS} nor ecgen-radiology/*.xml is here")
    seen = set()
    for name in names:
        try:
            uid, told, pictures = _parsed(files.content(name), stem(name))
        except BadImage as bad:
            yield Trouble(name, bad.reason, bad.detail)
            continue
        if uid in seen:
            yield Trouble(name, "repeated_id")
            continue
        seen.add(uid)
        yield _record(files, uid, told, dict.fromkeys(pictures, ""))


def _parsed(body: bytes, name: str) -> tuple[str, dict[str, Any], list[str]]:
    """(uid, what is said, the pictures) of one report; BadImage tells why there is none."""
    if len(body) > _MAX_XML:
        raise BadImage("too_large")
    try:
        xml = body.decode("utf-8-sig")  # first: a declared encoding could hide what is looked for next
    except UnicodeDecodeError:
        raise BadImage("bad_encoding") from None
    if "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        raise BadImage("bad_row", "DOCTYPE")  # entities can grow without end or read files; no report has any
    try:
        root = ElementTree.fromstring(xml)
    except (ElementTree.ParseError, ValueError):
        raise BadImage("bad_row", "not XML") from None
    own = root.find(".//uId")
    uid = _UID.fullmatch((own.get("id") if own is not None else None) or name)
    if root.tag != "eCitation" or uid is None:
        raise BadImage("bad_row", "uId" if root.tag == "eCitation" else "no eCitation")
    told: dict[str, Any] = {}
    for one in root.iter("AbstractText"):
        if (label := (one.get("Label") or "").lower()) in _SECTIONS:
            told[label] = folded(f"{told.get(label, '')} {''.join(one.itertext())}")
    told["image"] = folded(root.findtext(".//parentImage/caption"))
    told["MeSH"] = ";".join(folded(one.text) for one in root.iterfind(".//MeSH/major"))
    told["licence"] = folded(root.findtext(".//licenseURL"))
    return uid[1], told, [image for one in root.iter("parentImage") if (image := (one.get("id") or "").strip())]


def _record(files: Files, uid: str, told: dict[str, Any], views: dict[str, str]) -> Record:
    """A case of what is told and of its pictures, each with its view, "" where nobody says it."""
    media = tuple(_media(files, name) for name in views)
    images = [
        {"key": one.key, "path": one.path, "file": name, "projection": view}
        for one, (name, view) in zip(media, views.items(), strict=True)
    ]
    return Record(uid, {**told, "uid": uid, "images": images}, media)


def _media(files: Files, name: str) -> Media:
    found = _RADIOGRAPH.match(name.rpartition("/")[2])
    # R2Gen's 0.png is a name in its report's folder alone
    key = radiograph(name) if found else name.removesuffix(".png").replace("/", "_")
    names = [name if name.endswith(".png") else f"{name}.png"]
    if found:
        names += [
            f"{radiograph(name)}.png",
            f"{found[1]}_{found[2]}.dcm.png",
        ]  # the form of the pictures may be another
    places = [folder + each for each in names for folder in _IMAGE_FOLDERS]
    return Media(key=key, name=key, file=files.first(*places) or places[0], place=places[0])


def read(kind: str, body: object) -> CaseRecord | None:
    """The `Reader` of these records."""
    if kind != ENCOUNTER or not isinstance(body, dict) or not (key := text(body, "uid")):
        return None
    rows = images_of(body)
    findings, impression, report = (text(body, name) for name in ("findings", "impression", "report"))
    caption = report or " ".join(said for said in (findings, impression) if said) or None
    return CaseRecord(
        key=key,
        title=text(body, "image"),
        history=text(body, "indication"),
        findings=findings or (None if impression else report),  # an annotation alone does not tell the two apart
        impression=impression,
        patient_key=key,
        licence=text(body, "licence"),
        split=text(body, "split"),
        images=tuple(_image(key, row, caption) for row in rows),
    )


def _image(case: str, row: dict[str, Any], caption: str | None) -> ImageRecord:
    return ImageRecord(
        key=str(row["key"]),
        case_key=case,
        name=str(row["key"]),
        url=text(row, "path"),
        caption=caption,
        modality="XR - Plain Film",
        plane=text(row, "projection"),
    )
