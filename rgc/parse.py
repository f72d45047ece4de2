"""MedPix's JSON into records: pure functions, with missing and unknown fields taken as normal."""

import json
from collections.abc import Iterator
from typing import Any

from corpus_db.records import CaseRecord, ImageRecord, TopicRecord
from corpus_db.text import storable

# Read by this program, by endpoint: what the preflight looks for.
LIST_FIELDS = ("encounterID",)
CASE_FIELDS = [
    "encounterID",
    "history",
    "age",
    "sex",
    "diagnosis",
    "dxHow",
    "exam",
    "findings",
    "ddx",
    "txFollowup",
    "discussion",
    "topicID",
    "imageList",
    "error",
    "authorName",
    "authorAffiliation",
    "contributorsCSV",
    "affiliation",
]
IMAGE_FIELDS = [
    "imageID",
    "imageCaption",
    "imageURL",
    "imageName",
    "title",
    "modality",
    "plane",
    "acrCode",
    "preacr",
    "postacr",
    "figurePart",
    "show",
    "deleted",
    "encounter",
    "authorName",
    "authorAffiliation",
]
NOTHING = {"", "n/a", "na", "null"}  # how the API writes an absent value, beside null


class ShapeError(ValueError):
    """JSON, but not what this endpoint answers; `reason` is a key of reasons.REASONS."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


def load(body: bytes) -> tuple[str, Any]:
    """A JSON body as its text, to the letter, and as parsed; raises ShapeError("bad_json")."""
    try:
        text = body.decode("utf-8-sig")
        return text, json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise ShapeError("bad_json") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity are Python's, not JSON's


def read_list(body: Any) -> list[str]:
    """The case ids of an enumeration answer, in its order."""
    if not isinstance(body, list):
        raise ShapeError("wrong_shape")
    ids = [_text(row.get("encounterID")) for row in body if isinstance(row, dict)]
    if body and not any(ids):
        raise ShapeError("wrong_shape")
    return [key for key in ids if key]


def read_case(body: Any) -> CaseRecord:
    """A case with its images."""
    if not isinstance(body, dict):
        raise ShapeError("wrong_shape")
    if body.get("error"):
        raise ShapeError("upstream_error")
    key = _text(body.get("encounterID"))
    if not key:
        raise ShapeError("wrong_shape")
    listed = body.get("imageList")
    images = [image for image in listed if isinstance(image, dict)] if isinstance(listed, list) else []
    return CaseRecord(
        key=key,
        topic_key=_text(body.get("topicID")),
        title=next((title for image in images if (title := _text(image.get("title")))), None),
        history=_text(body.get("history")),
        exam=_text(body.get("exam")),
        findings=_text(body.get("findings")),
        ddx=_text(body.get("ddx")),
        diagnosis=_text(body.get("diagnosis")),
        diagnosis_by=_text(body.get("dxHow")),
        treatment=_text(body.get("txFollowup")),
        discussion=_text(body.get("discussion")),
        age=_text(body.get("age")),
        sex=_text(body.get("sex")),
        credit=_credit(body),
        images=tuple(_read_image(image) for image in images if _text(image.get("imageID"))),
    )


def _read_image(image: dict[str, Any]) -> ImageRecord:
    url = _text(image.get("imageURL"))
    name = _text(image.get("imageName")) or (url or "").rpartition("/")[2] or _text(image.get("imageID")) or ""
    acr = _text(image.get("acrCode")) or ".".join(filter(None, map(_text, (image.get("preacr"), image.get("postacr")))))
    withheld = "deleted" if _is(image.get("deleted"), True) else "hidden" if _is(image.get("show"), False) else None
    return ImageRecord(
        key=_text(image.get("imageID")) or "",
        case_key=_text(image.get("encounter")),
        name=name.rpartition(".")[0] or name,
        url=url,
        caption=_text(image.get("imageCaption"), keep=True),
        modality=_text(image.get("modality")),
        plane=_text(image.get("plane")),
        acr_code=acr or None,
        figure_part=_text(image.get("figurePart")),
        credit=_credit(image),
        withheld=withheld,
    )


def read_topic(body: Any) -> TopicRecord:
    """A topic."""
    if not isinstance(body, dict) or not (key := _text(body.get("topicID"))):
        raise ShapeError("wrong_shape")
    return TopicRecord(key=key, title=_text(body.get("title")), location=_text(body.get("location")))


def read(kind: str, body: object) -> CaseRecord | TopicRecord | None:
    """The `Reader` of raw records in MedPix's shape (corpus_db.records)."""
    try:
        if kind == "encounter":
            return read_case(body)
        return read_topic(body) if kind == "topic" else None
    except ShapeError:
        return None


def missing_fields(kind: str, body: Any) -> list[str]:
    """The expected fields that an answer (kind list or encounter) lacks altogether; null counts as present."""
    if kind == "list":
        rows = [row for row in body if isinstance(row, dict)] if isinstance(body, list) else []
        return [name for name in LIST_FIELDS if rows and not any(name in row for row in rows)]
    missing = [name for name in CASE_FIELDS if name not in body]
    images = [image for image in body.get("imageList") or [] if isinstance(image, dict)]
    return missing + [f"imageList.{name}" for name in IMAGE_FIELDS if images and not any(name in i for i in images)]


Change = tuple[str | None, str, str | None, str | None]  # key, field, before, after


def compare(kind: str, before: Any, after: Any) -> list[Change]:
    """What differs between two answers of one resource, field by field; images are matched by their id."""
    if kind != "encounter" or not isinstance(before, dict) or not isinstance(after, dict):
        return list(_fields(None, before, after)) if isinstance(before, dict) and isinstance(after, dict) else []
    old, new = _images_by_id(before), _images_by_id(after)
    changes = list(_fields(_text(after.get("encounterID")), before, after))
    for key in dict.fromkeys([*old, *new]):
        if key in old and key in new:
            changes += _fields(key, old[key], new[key])
        else:
            changes.append((key, "listed", str(key in old), str(key in new)))
    return changes


def _fields(key: str | None, before: dict[str, Any], after: dict[str, Any]) -> Iterator[Change]:
    for name in dict.fromkeys([*before, *after]):
        old, new = before.get(name), after.get(name)
        if name not in ("imageList", "mediaList") and old != new:
            yield key, "caption" if name == "imageCaption" else name, _shown(old), _shown(new)


def _images_by_id(case: dict[str, Any]) -> dict[str, dict[str, Any]]:
    images = case.get("imageList")
    images = images if isinstance(images, list) else []
    return {str(image.get("imageID")): image for image in images if isinstance(image, dict)}


def _shown(value: Any) -> str | None:
    return None if value is None else storable(value if isinstance(value, str) else json.dumps(value))


def _text(value: Any, keep: bool = False) -> str | None:
    """A field as storable text; None where it holds nothing. `keep` leaves a caption's white space and words alone."""
    if value is None or isinstance(value, (dict, list, bool)):
        return None
    text = storable(str(value))
    if keep:
        return text
    text = text.strip()
    return None if text.lower() in NOTHING else text


def _is(value: Any, truth: bool) -> bool:
    return str(value).lower() in (("true", "1") if truth else ("false", "0"))


def _credit(record: dict[str, Any]) -> str | None:
    """The credit line: author, contributors, affiliation, each once."""
    names = [_text(record.get("authorName")), _text(record.get("contributorsCSV"))]
    places = [_text(record.get("authorAffiliation")), _text(record.get("affiliation"))]
    return ", ".join(dict.fromkeys(part for part in (*names, *places) if part)) or None
