"""Read MedPix 2.0 (Siragusa et al., 2024, arXiv 2407.02994): MedPix's CT and MR cases.

As published: Case_topic.json, Descriptions.json (also Description.json), images/U_id_synpicN.png. A second form is
about: cases.json, images.jsonl with a flat object an image, images/U_id_synpicN.jpg. The case is the U_id; synpicN is
MedPix's own name of the image, by which a build knows it again in a crawl of MedPix.
"""

from collections import defaultdict
from collections.abc import Iterator
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
    images_of,
    lacking,
    stem,
    text,
)
from corpus_db.records import CaseRecord, ImageRecord

ABOUT = About(
    "medpix2",
    "none stated (MedPix states none)",
    "Siragusa I, Contino S, La Ciura M, Alicata R, Pirrone R. MedPix 2.0 (2024). arXiv:2407.02994",
)
CASES = ("Case_topic.json", "cases.json")
IMAGES = ("Descriptions.json", "Description.json", "images.jsonl")
_ENDINGS = ("png", "jpg", "jpeg")
# of Description in the published form -> of the flat form
_SAID = {
    "Caption": "caption",
    "Modality": "modality",
    "Plane": "plane",
    "ACR Codes": "acr",
    "Age": "age",
    "Sex": "sex",
    "Figure Part": "figure_part",
}


def records(files: Files) -> Iterator[Given]:
    """Each case with its images; an image whose case is not there is a case of its own."""
    name = files.need("MedPix 2.0", *CASES)
    cases = files.json(name)
    if not isinstance(cases, list):
        raise UserError(f"{files.root / name}: not a list of cases; fetch MedPix 2.0 anew")
    images: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for place, row in _rows(files):
        if isinstance(row, Bad):
            yield Trouble(place, *row)
        elif lacks := lacking(row, "image", "case"):
            yield Trouble(place, "bad_row", lacks)
        else:
            images[str(row["case"])].append(row)
    for number, case in enumerate(cases, 1):
        key = text(case, "U_id") if isinstance(case, dict) else None
        if key is None:
            yield Trouble(f"{name}:{number}", *(("bad_row", "U_id") if isinstance(case, dict) else ("not_an_object",)))
        else:
            yield _record(files, key, case, images.pop(key, []))
    for key, rows in images.items():
        yield _record(files, key, {"U_id": key}, rows)


def _rows(files: Files) -> Iterator[tuple[str, dict[str, Any] | Bad]]:
    """(its place, the flat object) of each image."""
    name = files.need("MedPix 2.0", *IMAGES)
    if name.endswith(".jsonl"):
        yield from ((f"{name}:{number}", row) for number, row in files.json_lines(name))
        return
    found = files.json(name)
    if not isinstance(found, list):
        raise UserError(f"{files.root / name}: not a list of images; fetch MedPix 2.0 anew")
    for number, row in enumerate(found, 1):
        yield f"{name}:{number}", _flat(row) if isinstance(row, dict) else Bad("not_an_object")


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    said = row["Description"] if isinstance(row.get("Description"), dict) else {}
    flat = {"image": text(row, "image"), "case": text(row, "U_id"), "location": row.get("Location")}
    return flat | {"type": row.get("Type")} | {to: said.get(name) for name, to in _SAID.items()}


def _record(files: Files, key: str, case: dict[str, Any], rows: list[dict[str, Any]]) -> Record:
    media = [_media(files, row) for row in rows]
    body = {name: value for name, value in case.items() if name not in ("TAC", "MRI")}
    body["images"] = [{**row, "key": one.key, "path": one.path} for row, one in zip(rows, media, strict=True)]
    return Record(key, body, tuple(media))


def _media(files: Files, row: dict[str, Any]) -> Media:
    image = str(row["image"])
    number = stem(image).rpartition("_")[2]  # MPX1009_synpic46283
    given = [image] if image.rpartition(".")[2].lower() in _ENDINGS else [f"{image}.{ending}" for ending in _ENDINGS]
    names = [f"{folder}{name}" for name in given for folder in ("images/", "")]
    return Media(key=stem(image), name=number, file=files.first(*names) or names[0], place=names[0])


def read(kind: str, body: object) -> CaseRecord | None:
    """The `Reader` of these records."""
    if kind != ENCOUNTER or not isinstance(body, dict) or not (key := text(body, "U_id")):
        return None
    case, topic = (value if isinstance(value := body.get(name), dict) else {} for name in ("Case", "Topic"))
    rows = images_of(body)
    told: dict[str, str | None] = {name: _said(rows[0], name) if rows else None for name in ("age", "sex")}
    return CaseRecord(
        key=key,
        title=_said(case, "Title") or _said(topic, "Title"),
        history=_said(case, "History"),
        exam=_said(case, "Exam"),
        findings=_said(case, "Findings"),
        ddx=_said(case, "Differential Diagnosis"),
        diagnosis=_said(case, "Case Diagnosis"),
        diagnosis_by=_said(case, "Diagnosis By"),
        treatment=_said(case, "Treatment & Follow Up"),
        discussion=_said(topic, "Disease Discussion"),
        **told,
        images=tuple(_image(key, row) for row in rows),
    )


def _image(case: str, row: dict[str, Any]) -> ImageRecord:
    return ImageRecord(
        key=str(row["key"]),
        case_key=case,
        name=str(row["key"]).rpartition("_")[2],
        url=text(row, "path"),
        caption=row["caption"] if isinstance(row.get("caption"), str) else None,
        modality=_said(row, "modality") or _said(row, "type"),
        plane=_said(row, "plane"),
        acr_code=_said(row, "acr"),
        figure_part=_said(row, "figure_part"),
    )


def _said(row: dict[str, Any], name: str) -> str | None:
    found = text(row, name)
    return None if found is None or found.lower() in ("n/a", "na", "null") else found
