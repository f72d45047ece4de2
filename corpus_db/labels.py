"""Decide an image's labels from votes: a person, DICOM tags, the source's words, the caption, the pixels."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from corpus_db.modality import NOT_ASSIGNED, NOT_RADIOLOGY, UNKNOWN, read_modality, read_plane
from corpus_db.pixel_labels import pixel_votes
from corpus_db.regions import acr_regions, body_part_region, location_regions, overlap
from corpus_db.text_labels import text_votes
from corpus_db.votes import Vote

__all__ = ["Conflict", "Labels", "Vote", "agree", "label"]

PERSON, DICOM, UPSTREAM, TEXT, PIXELS = "person", "dicom", "upstream", "text", "pixels"
NOTHING = "none"  # a person's vote that the field has no value
_EXCLUSIVE = ("modality", "plane", "region", "laterality", "sequence", "contrast")
_TRUST = (DICOM, UPSTREAM, TEXT, PIXELS)
_REGION_TRUST = (
    DICOM,
    TEXT,
    UPSTREAM,
    PIXELS,
)  # location and ACR code tell of the case's topic, the caption of this image
_RESCUE = 0.9  # confidence that gives a modality to an image whose source gives none
_CASE_TEXTS = ("title", "diagnosis")  # read for a region where the caption names none
_CASE_CONFIDENCE, _TOPIC_CONFIDENCE = 0.6, 0.7

# DICOM's codes that this corpus keeps as another's (CR and DX are one), and those of pictures made with light or leads
_SAME_CODE = {"CR": "DX", "DR": "DX", "RG": "DX", "PX": "DX", "IO": "DX", "DS": "XA", "ST": "NM"}
_OPTICAL = frozenset(("XC", "GM", "SM", "ES", "OP", "ECG", NOT_RADIOLOGY))
_RADIOLOGY = frozenset(("CT", "MR", "DX", "US", "MG", "NM", "PT", "XA", "RF", "OT"))
_SIDES = {"L": "left", "R": "right", "B": "bilateral"}
_POSITIONS = {"AP": "ap", "PA": "pa", "LL": "lateral", "RL": "lateral", "CC": "cc", "MLO": "mlo"}

_PROJECTION = frozenset(("DX", "RF", "XA"))  # "radiograph" is said of any of them
_COMPATIBLE = {
    "modality": ({"DX", "MG"}, {"NM", "PT"}),
    "plane": (
        *({"frontal", "ap"}, {"frontal", "pa"}, {"cc", "mag_cc"}, {"cc", "xcc"}, {"lateral", "decubitus"}),
        *({"frontal", "coronal"}, {"lateral", "sagittal"}),  # said of MR of the pelvis and of joints
    ),
    "contrast": ({"iv", "gi+iv"}, {"gi", "gi+iv"}),
}
# Values that leave a field open: a finer vote completes them, and none contradicts them.
_OPEN = {"modality": {"OT"}, "plane": {"multiple", "other", "3d", "oblique"}, "sequence": {"other"}}


@dataclass(frozen=True)
class Conflict:
    """Two voters that cannot both be right; `value` is what was chosen, or the drop reason."""

    field: str
    value: str
    voter: str
    evidence: str
    other_value: str
    other_voter: str
    other_evidence: str


@dataclass(frozen=True)
class Labels:
    """What was decided, why the image is dropped if it is, every vote, and every disagreement."""

    modality: str | None
    plane: str | None
    region: str | None
    laterality: str | None
    drop_reason: str | None
    votes: tuple[Vote, ...]
    conflicts: tuple[Conflict, ...]


def label(
    *,
    modality_raw: str | None,
    plane_raw: str | None,
    caption: str | None,
    case_texts: Mapping[str, str | None] | None = None,
    acr_code: str | None = None,
    dicom: Mapping[str, str] | None = None,
    pixels: Mapping[str, Any] | None = None,
    location: str | None = None,
    reviewed: Mapping[str, Vote] | None = None,
) -> Labels:
    """Labels of one image. `dicom` maps keywords (Modality, BodyPartExamined) to strings, `pixels` are pixel_facts().

    `reviewed`: a person's votes by field, which settle it: no other vote counts there, nor is it a conflict.

    Never raises on any text. A text vote of confidence 0.9 or more, or a DICOM tag, names the modality where the source
    assigned none or one that is not known; an image that the source calls no radiology stays dropped.
    """
    votes = [*_dicom_votes(dicom or {}), *_upstream_votes(modality_raw, plane_raw)]
    may_mean = {vote: regions for vote, regions in _topic_votes(location, acr_code)}
    votes += [*may_mean, *text_votes(caption or "")]
    if not any(vote.field == "region" and vote.voter == TEXT for vote in votes):
        votes += _case_votes(case_texts or {})
    votes += pixel_votes(pixels or {})
    chosen = dict(reviewed or {})
    conflicts: list[Conflict] = []
    for field in _EXCLUSIVE:
        if field in chosen:
            continue
        cast = [vote for vote in votes if vote.field == field]
        if cast:
            chosen[field] = _chosen(field, cast)
            conflicts += _conflicts(chosen[field], cast, votes, may_mean)
    modality, reason = _modality(chosen.get("modality"), modality_raw)
    values = {field: vote.value for field, vote in chosen.items() if vote.value != NOTHING}
    plane, region, side = (values.get(field) for field in ("plane", "region", "laterality"))
    votes += (reviewed or {}).values()
    return Labels(modality, plane, region, side, reason, tuple(votes), tuple(conflicts))


def _modality(chosen: Vote | None, modality_raw: str | None) -> tuple[str | None, str | None]:
    """The code and the drop reason that the chosen vote and the source's own words leave."""
    if chosen and chosen.voter == PERSON:
        return chosen.value, None
    reason = read_modality(modality_raw).drop_reason
    if reason == NOT_RADIOLOGY or (chosen and chosen.value in _OPTICAL):
        return None, NOT_RADIOLOGY
    if chosen is None:
        return None, reason or NOT_ASSIGNED
    if reason in (NOT_ASSIGNED, UNKNOWN) and chosen.confidence < _RESCUE:
        return None, reason
    return chosen.value, None


def _upstream_votes(modality_raw: str | None, plane_raw: str | None) -> list[Vote]:
    modality, plane = read_modality(modality_raw), read_plane(plane_raw)
    cast = [("modality", modality.code, modality_raw), ("plane", plane.plane, plane_raw)]
    cast += [(field, value, modality_raw) for field, value in modality.details]
    for said, words in ((modality, modality_raw), (plane, plane_raw)):
        if said.drop_reason == NOT_RADIOLOGY:
            cast.append(("modality", NOT_RADIOLOGY, words))
    return [Vote(field, value, UPSTREAM, words or "", 1.0) for field, value, words in cast if value]


def _dicom_votes(tags: Mapping[str, str]) -> list[Vote]:
    def tag(name: str) -> str:
        return str(tags.get(name) or "").strip().upper()

    code = _SAME_CODE.get(tag("Modality"), tag("Modality"))
    code = code if code in _RADIOLOGY | _OPTICAL else ""
    side = next((name for name in ("ImageLaterality", "Laterality") if tag(name) in _SIDES), "Laterality")
    cast = [
        ("modality", code, "Modality"),
        ("region", body_part_region(tag("BodyPartExamined")) or "", "BodyPartExamined"),
        ("laterality", _SIDES.get(tag(side), ""), side),
        ("plane", _POSITIONS.get(tag("ViewPosition"), ""), "ViewPosition"),
    ]
    votes = [Vote(field, value, DICOM, f"{name}: {tags[name]}", 1.0) for field, value, name in cast if value]
    described = str(tags.get("SeriesDescription") or "")
    known = {vote.field for vote in votes}
    # a description is free text: read as a caption is, beside the tags that were set on purpose
    votes += [
        Vote(vote.field, vote.value, DICOM, f"SeriesDescription: {vote.evidence}", 0.9)
        for vote in text_votes(described)
        if vote.field not in known
    ]
    return votes


def _topic_votes(location: str | None, acr_code: str | None) -> Iterable[tuple[Vote, tuple[str, ...]]]:
    """What the topic's location and ACR code say of the region, each with all the regions that it may mean."""
    for name, words, regions in (
        ("location", location, location_regions(location)),
        ("acr_code", acr_code, acr_regions(acr_code)),
    ):
        if regions and regions[0] and not (name == "acr_code" and (words or "").strip() == "0.0"):  # nobody chose it
            yield Vote("region", regions[0], UPSTREAM, f"{name}: {words}", _TOPIC_CONFIDENCE), regions


def _case_votes(texts: Mapping[str, str | None]) -> list[Vote]:
    for name in _CASE_TEXTS:
        for vote in text_votes(texts.get(name) or ""):
            if vote.field == "region":
                return [Vote("region", vote.value, TEXT, f"{name}: {vote.evidence}", _CASE_CONFIDENCE)]
    return []


def _chosen(field: str, cast: list[Vote]) -> Vote:
    """The most trusted vote on a field; a finer one of a person or a text where that leaves the field open."""
    trust = _REGION_TRUST if field == "region" else _TRUST
    # A plane string "Photograph" beside a modality string "CT" is a slip, unless caption or pixels say so too.
    optical = any(vote.value in _OPTICAL and vote.voter in (TEXT, PIXELS) for vote in cast)
    ranked = sorted(cast, key=lambda vote: (trust.index(vote.voter), (vote.value in _OPTICAL) != optical))
    if field == "region" and ranked[0].confidence == _CASE_CONFIDENCE:  # a title tells less of an image than its topic
        ranked.sort(key=lambda vote: -vote.confidence)
    still_open = _OPEN.get(field, set())
    return next((vote for vote in ranked if vote.value not in still_open and vote.voter != PIXELS), ranked[0])


def _conflicts(
    chosen: Vote, cast: list[Vote], votes: list[Vote], may_mean: Mapping[Vote, tuple[str, ...]]
) -> Iterable[Conflict]:
    for other in cast:
        if other is chosen or _agree(chosen, other, votes):
            continue
        if other.value in may_mean.get(chosen, ()) or chosen.value in may_mean.get(other, ()):
            continue
        yield Conflict(
            chosen.field,
            chosen.value,
            chosen.voter,
            chosen.evidence,
            other.value,
            other.voter,
            other.evidence,
        )


def agree(field: str, one: str, other: str) -> bool:
    """Whether two values of a field can both be right, whoever gave them."""
    pair = {one, other}
    if len(pair) == 1 or pair & _OPEN.get(field, set()) or pair in _COMPATIBLE.get(field, ()):
        return True
    if field == "region":
        return overlap(pair)
    if field == "laterality":
        return "bilateral" in pair  # both sides are imaged, and one of them is described
    return field == "modality" and (pair <= _PROJECTION or pair <= _OPTICAL)


def _agree(one: Vote, other: Vote, votes: list[Vote]) -> bool:
    """The same for two votes, in the light of the techniques that were voted for."""
    if agree(one.field, one.value, other.value):
        return True
    techniques = {(vote.voter, vote.value) for vote in votes if vote.field == "technique"}
    if {one.value, other.value} == {"CT", "PT"}:  # one half of a fused study
        return any(value == "CT_fusion" for _, value in techniques)
    # "angiogram" alone is said of CT and MR angiography too
    return other.value == "XA" and bool({(one.voter, "angiography"), (one.voter, "venography")} & techniques)
