"""Read Open-i's search results (openi.nlm.nih.gov/api/search), saved as JSON pages, with the pictures that they name.

One item is one picture: of a MedPix case, of an Indiana radiograph's report, or of an article. The case is the item's
uid; a MedPix or Indiana picture has the name that it has there, by which a build knows it again.
"""

import re
from collections.abc import Iterator
from html import unescape
from typing import Any

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
    lacking,
    stem,
    text,
)
from corpus_db.importers.iu_xray import radiograph
from corpus_db.records import CaseRecord, ImageRecord

ABOUT = About(
    "open-i",
    "per item (licenseURL); none stated for MedPix",
    "Demner-Fushman D, Antani S, Simpson M, Thoma GR. Design and development of a multimodal biomedical information "
    "retrieval system. J Comput Sci Eng 6(2), 168-177 (2012). Open-i, National Library of Medicine.",
)
_FOLDERS = ("images/", "imgs/", "")  # below the folder and beside the page
_ENDINGS = ("png", "jpg", "jpeg", "gif")
_NAME = re.compile(r"\w[\w.+-]*")
_OF_IMAGE = ("imgLarge", "medpixFigureId", "medpixImageURL", "detailedQueryURL")
_OF_SEARCH = ("imgThumb", "imgThumbLarge", "imgGrid150", "similarInCollection", "similarInResults", "getArticleFigures")
# image.modalityMajor, as the parameter `it` of a search has it -> words that modality.read_modality knows
_MODALITIES = {
    "x": "XR - Plain Film",
    "c": "CT",
    "m": "MRI",
    "u": "US - Ultrasound",
    "p": "PET - Positron Emission",
    "ph": "Photograph",
    "mc": "Histology (NOS)",
    "g": "Drawing",
}
_SECTION = re.compile(r"<b>([^<:]*):\s*</b>(.*?)(?=<b>[^<:]*:\s*</b>|\Z)", re.DOTALL | re.IGNORECASE)
_INLINE_TAG = re.compile(r"</?(?:b|i|em|strong|sub|sup|span)\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_TEXTS = {
    "indication": "history",
    "history": "history",
    "exam": "exam",
    "findings": "findings",
    "impression": "impression",
    "differential diagnosis": "ddx",
    "diagnosis": "diagnosis",
    "treatment": "treatment",
    "discussion": "discussion",
}


def records(files: Files) -> Iterator[Given]:
    """Each picture of each page once; pages of one search may overlap."""
    names = [files.given.name] if files.given.is_file() else files.matching("*.json", "*/*.json")
    seen: set[str] = set()
    pages = 0
    for page in names:
        items = _items(files, page)
        if isinstance(items, str):
            yield Trouble(page, items)
            continue
        pages += 1
        for number, item in enumerate(items, 1):
            name = name_of(item)
            if name is None:
                yield Trouble(f"{page}:{number}", *_fault(item))
            elif name not in seen:
                seen.add(name)
                yield _record(files, page, name, item)
    if not pages:
        raise UserError(f"{files.given}: no page of Open-i's here; save what openi.nlm.nih.gov/api/search answers")


def _items(files: Files, page: str) -> list[Any] | str:
    """What a page lists, or the reason why it is no page. A search that finds nothing has no list."""
    try:
        found = files.json(page)
    except UserError:
        return "bad_json"
    items = found.get("list", []) if isinstance(found, dict) and "total" in found else None
    return items if isinstance(items, list) else "wrong_shape"


def name_of(item: Any) -> str | None:
    """The picture's name on Open-i; None where the item lacks what it must hold."""
    if not isinstance(item, dict) or not text(item, "uid") or not isinstance(item.get("image"), dict):
        return None
    name = stem(text(item, "imgLarge") or text(item["image"], "id") or "")
    return name if _NAME.fullmatch(name) else None


def _fault(item: Any) -> Bad:
    """Of an item without a name."""
    if not isinstance(item, dict):
        return Bad("not_an_object")
    return Bad("bad_row", lacking(item, "uid") or ("imgLarge" if isinstance(item.get("image"), dict) else "image"))


def _record(files: Files, page: str, name: str, item: dict[str, Any]) -> Record:
    large = (text(item, "imgLarge") or "").lstrip("/")
    base = large.rpartition("/")[2]
    names = [base, *(f"{name}.{ending}" for ending in _ENDINGS)] if base else [f"{name}.{end}" for end in _ENDINGS]
    beside = page.rpartition("/")[0]
    below = dict.fromkeys(("", f"{beside}/" if beside else ""))
    places = [f"{there}{folder}{each}" for each in names for there in below for folder in _FOLDERS]
    if large.startswith("imgs/") and ".." not in large:
        places.append(large)  # as wget mirrors it
    media = Media(key=name, name=_shared(name), file=files.first(*places) or places[0], place=places[0])
    return Record(name, body_of(item, name, media.path), (media,))


def body_of(item: dict[str, Any], name: str, path: str) -> dict[str, Any]:
    """The raw record of an item whose picture stands in the ledger under `path`."""
    image = item["image"] | {key: item[key] for key in _OF_IMAGE if key in item} | {"key": name, "path": path}
    left = {"image", *_OF_IMAGE, *_OF_SEARCH}
    return {key: value for key, value in item.items() if key not in left} | {"images": [image]}


def _shared(name: str) -> str:
    """The name that the picture has where it is from: synpic52425 for MPX1006_synpic52425."""
    synpic = re.fullmatch(r"MPX\d+_(synpic\d+)", name)
    return synpic[1] if synpic else radiograph(name)


def read(kind: str, body: object) -> CaseRecord | None:
    """The `Reader` of these records: of each picture its case, which a build joins."""
    if kind != ENCOUNTER or not isinstance(body, dict) or not (key := text(body, "uid")):
        return None
    told = {"title": _plain(body.get("title")), "impression": _plain(body.get("impression"))}
    abstract = body.get("abstract") if isinstance(body.get("abstract"), str) else ""
    for heading, said in _SECTION.findall(abstract or ""):
        name = _TEXTS.get(heading.strip().lower())
        if name and not told.get(name):
            told[name] = _plain(said)
    of_report = [told[name] for name in ("findings", "impression") if told.get(name)]
    report = " ".join(said for said in of_report if said) if key.startswith("CXR") else ""
    rows = images_of(body)
    return CaseRecord(
        key=key,
        credit=text(body, "authors"),
        patient_key=key if key.startswith("CXR") else None,
        licence=text(body, "licenseURL", "ccLicense", "licenseType"),
        images=tuple(_image(key, row, report) for row in rows),
        **told,
    )


def _image(case: str, row: dict[str, Any], report: str) -> ImageRecord:
    modality = text(row, "modalityMajor")
    return ImageRecord(
        key=str(row["key"]),
        case_key=case,
        name=_shared(str(row["key"])),
        url=text(row, "path"),
        caption=report or _plain(row.get("caption")),  # a radiograph's caption says which views its study has
        modality=_MODALITIES.get(modality.lower(), modality) if modality else None,
        plane=None,
    )


def _plain(said: Any) -> str | None:
    """Text without tags; Open-i sets some inside a sentence, round the words that were searched for."""
    if not isinstance(said, str):
        return None
    return folded(unescape(_TAG.sub(" ", _INLINE_TAG.sub("", said)))) or None
