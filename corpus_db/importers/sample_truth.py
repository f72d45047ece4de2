"""Ask about the images of the embedded sample what its truth file knows: for tests and studies, never the pipeline.

Of each radiology image: modality, plane, region, finding, side and size, as an open question and as one to answer by
yes or no. Whether yes is right is for a hash to say; a wrong suggestion is the truth of another image, so that what is
suggested gives nothing away.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from corpus_db.errors import UserError
from corpus_db.importers.base import (
    About,
    Bad,
    Files,
    Given,
    Media,
    QuestionRecord,
    Record,
    Trouble,
    lacking,
    stem,
    text,
)
from corpus_db.split import split_of
from corpus_db.text import storable

ABOUT = About("sample-truth", "MIT", "Truth of a synthetic sample: drawn, of no patient", pairs=False)
CRAWLED = "sample"  # as a crawl names the source of the sample's cases
_TRUTH = "truth.jsonl"
_OF_FINDING = ("finding", "side", "size")
_ATTEMPTS = 64
# Planes that are one plane under the names of two modalities.
_SAME_PLANE = {"transverse": "axial", "frontal": "coronal", "longitudinal": "sagittal", "lateral": "sagittal"}
_UNCOUNTED = ("atrophy",)
_UNLIKE = 1.5  # sizes of which one is this many times the other


def records(files: Files) -> Iterator[Given]:
    """A record an image, with its questions; raises UserError where this is no sample."""
    name = files.need("the sample (python cli.py sample -o DIR)", _TRUTH)
    images = []
    for number, row in files.json_lines(name):
        told = row if isinstance(row, Bad) else _image(row)
        if isinstance(told, Bad):
            yield Trouble(f"{name}:{number}", *told)
        elif told.radiology:
            images.append(told)
    if not images:
        raise UserError(f"{files.root / name}: no radiology image in it; render the sample anew: python cli.py sample")
    pools: dict[str, list[Any]] = defaultdict(list)
    for image in images:
        for kind, value in image.told.items():
            if _can_be_suggested(value):
                pools[kind].append(value)
    for image in images:
        media = Media(key=image.name, name=stem(image.name), file=f"images/{image.name}")
        yield Record(image.name, media=(media,), questions=tuple(_questions(image, media, pools)))


@dataclass(frozen=True)
class _Image:
    """What is true of an image, by the kind of question."""

    name: str
    case: str
    radiology: bool
    finding: str | None
    told: dict[str, Any] = field(default_factory=dict)


def _image(row: Mapping[str, Any]) -> _Image | Bad:
    name, case, finding = text(row, "name"), text(row, "case_id"), text(row, "finding")
    if not (name and case):
        return Bad("bad_row", lacking(row, "name", "case_id"))
    if not isinstance(row.get("radiology"), bool):
        return Bad("bad_row", "radiology")
    told: dict[str, Any] = {kind: text(row, kind) for kind in ("modality", "plane", "region", "finding", "side")}
    told["size"] = size = row.get("size_mm")
    if size is not None and not (isinstance(size, int | float) and size > 0):
        return Bad("bad_row", "size_mm")
    if row["radiology"] and (lacks := lacking(row, "modality", "plane", "region")):
        return Bad("bad_row", lacks)
    hidden = finding is not None and not row.get("box")  # a projection that does not show it
    if hidden:
        told = {kind: value for kind, value in told.items() if kind not in _OF_FINDING}
    kept = {kind: value for kind, value in told.items() if value is not None}
    if not hidden:
        kept.setdefault("finding", "none")
    return _Image(name, case, row["radiology"], finding, kept)


def _can_be_suggested(value: Any) -> bool:
    """Not for two panels in one image, nor where "on the left" would be half the truth."""
    return not (isinstance(value, str) and ("+" in value or value in ("bilateral", "none")))


def _questions(image: _Image, media: Media, pools: Mapping[str, Sequence[Any]]) -> Iterator[QuestionRecord]:
    for kind, truth in image.told.items():
        asked = [("open", _open(kind, image.finding), _answer(kind, truth))]
        if kind == "finding":
            asked.append(("any", "Is there an abnormality?", "no" if truth == "none" else "yes"))
        if _can_be_suggested(truth):
            other = _another(kind, truth, pools[kind], image.name)
            right = _draw(f"{image.name} {kind}") % 2 == 0
            if other is not None:
                suggested = truth if right else other
                asked.append(("closed", _closed(kind, suggested, image.finding), "yes" if right else "no"))
        for form, question, answer in asked:
            yield QuestionRecord(
                key=f"{media.name}:{kind}:{form}",
                image_name=media.name,
                image_path=media.path,
                question=question,
                answer=answer,
                answer_type="open" if form == "open" else "closed",
                question_type=kind,
                split=split_of(f"{CRAWLED}:{image.case}"),
                organ=image.told["region"].lower(),
                modality=image.told["modality"],
            )


def _open(kind: str, finding: str | None) -> str:
    return {
        "modality": "Which modality is this image?",
        "plane": "In which plane is this image?",
        "region": "Which part of the body does this image show?",
        "finding": "Which finding does this image show?",
        "side": f"On which side is the {finding}?",
        "size": f"How large is the {finding}, in mm?",
    }[kind]


def _closed(kind: str, suggested: Any, finding: str | None) -> str:
    return {
        "modality": f"Is this {_a(suggested, spelt=True)} image?",
        "plane": f"Is this {_a(suggested)} image?",
        "region": f"Does this image show the {suggested}?",
        "finding": f"Is there {suggested if suggested in _UNCOUNTED else _a(suggested)}?",
        "side": f"Is the {finding} on the {suggested}?",
        "size": f"Is the {finding} about {suggested} mm across?",
    }[kind]


def _a(word: Any, spelt: bool = False) -> str:
    """With its article: an effusion, an MR."""
    return f"{'an' if str(word)[0] in ('AEFHILMNORSX' if spelt else 'aeiou') else 'a'} {word}"


def _answer(kind: str, truth: Any) -> str:
    return str(truth).replace("+", " and ") if kind == "plane" else str(truth)


def _another(kind: str, truth: Any, pool: Sequence[Any], name: str) -> Any:
    """What is not true of this image but of another one, which hashes choose; None where all are alike."""
    drawn = (pool[_draw(f"{name} {kind} {attempt}") % len(pool)] for attempt in range(_ATTEMPTS))
    return next((found for found in drawn if _differs(kind, truth, found)), None)


def _differs(kind: str, truth: Any, other: Any) -> bool:
    if kind == "size":
        return max(truth, other) >= _UNLIKE * min(truth, other)
    if kind == "plane":
        return _SAME_PLANE.get(truth, truth) != _SAME_PLANE.get(other, other)
    return bool(truth != other)


def _draw(words: str) -> int:
    return int.from_bytes(hashlib.sha256(storable(words).encode()).digest()[:8], "big")
