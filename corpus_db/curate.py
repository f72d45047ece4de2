"""Curate one pair at a time, from what its source says: clean, label, de-identify, and judge whether it stays."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from corpus_db import clean, labels, verdicts
from corpus_db.cleaning.drops import EMPTY
from corpus_db.deidentify import deidentify, deidentify_age
from corpus_db.gather import Gathered, Listing, StoredImage, owned_listings, withheld_keys
from corpus_db.modality import NOT_ASSIGNED, read_modality, read_plane
from corpus_db.records import CaseRecord

GONE = "gone_upstream"
KEPT, DROPPED = "kept", "dropped"
CASE_TEXTS = ("title", "history", "exam", "findings", "impression", "ddx", "diagnosis", "treatment", "discussion")
Row = dict[str, Any]


@dataclass
class CuratedCase:
    """A study_case row, and what de-identification changed in its texts."""

    row: Row
    edits: list[Row]
    split: str | None  # the source's own, where it is kept


@dataclass
class CuratedPair:
    """A pair row on its way through the build, with the case and image it belongs to and all votes on it."""

    row: Row
    source: str
    case: CuratedCase
    image: StoredImage
    licence: str | None
    edits: list[Row]
    labels: list[Row]
    conflicts: list[Row]
    unknown: dict[str, str] = field(default_factory=dict)  # modality or plane -> the source's words that nobody knows
    caption_group: str = ""
    other_cases: list[str] = field(default_factory=list)  # of other sources that list the same image

    @property
    def kept(self) -> bool:
        """Whether nothing has dropped it so far."""
        return self.row["status"] == KEPT

    def drop(self, reason: str, detail: str | None = None) -> None:
        """Leave it out of the version, for the first reason that is given."""
        if self.kept:
            self.row.update(status=DROPPED, drop_reason=reason, drop_detail=detail)


@dataclass
class Curated:
    """One source's cases and pairs."""

    cases: list[CuratedCase] = field(default_factory=list)
    pairs: list[CuratedPair] = field(default_factory=list)
    listed: list[tuple[str, str, str]] = field(default_factory=list)  # (case, image, name) of all that cases list
    without_image: int = 0  # listed, but no bytes that count: see the ledger
    withheld: int = 0  # deleted or hidden upstream


def curate(
    found: Gathered, facts: Mapping[str, Mapping[str, Any]], reviews: Mapping[str, verdicts.Review] | None = None
) -> Curated:
    """All of one source; `facts`: what is known of the pixels, by sha256; `reviews`: what persons decided, by pair."""
    cases = {key: curated_case(found, case) for key, case in found.cases.items()}
    curated = Curated(list(cases.values()))
    for key, case in found.cases.items():
        row_id = cases[key].row["id"]
        curated.listed += [(row_id, f"{found.source}:{image.key}", image.name) for image in case.images]
    withheld = withheld_keys(found.cases.values())
    for listing in owned_listings(found.cases):
        if listing.image.key in withheld:
            curated.withheld += 1
            continue
        stored = found.images.of(listing.image)
        gone = listing.case.key in found.gone or (stored is not None and stored.status == "gone")
        if stored is None or not (gone or stored.status == "ok"):
            curated.without_image += 1
            continue
        review = (reviews or {}).get(f"{found.source}:{listing.image.key}", verdicts.NO_REVIEW)
        pair = curated_pair(found, listing, cases[listing.case.key], stored, facts.get(stored.sha256), review)
        if gone:
            pair.row.update(status=DROPPED, drop_reason=GONE)
        curated.pairs.append(pair)
    return curated


def curated_case(found: Gathered, case: CaseRecord) -> CuratedCase:
    """The study_case row of a case, its texts de-identified, with what its topic adds."""
    topic = found.topics.get(case.topic_key or "")
    row: Row = {
        "id": f"{found.source}:{case.key}",
        "source_id": found.source_id,
        "upstream_id": case.key,
        "patient_key": f"{found.source}:{case.patient_key}" if case.patient_key else None,
        "topic": topic.title if topic else None,
        "location": topic.location if topic else None,
        "diagnosis_by": case.diagnosis_by,
        "age": deidentify_age(case.age),
        "sex": case.sex,
        "credit": case.credit,
        "licence": case.licence or found.licence,
    }
    edits = []
    for name in CASE_TEXTS:
        said = getattr(case, name) or (topic.title if topic and name == "title" else None)
        written = deidentify(said) if said else None
        row[name] = written.text if written else said
        for step, change in enumerate(written.edits if written else (), 1):
            told = {"study_case_id": row["id"], "field": name, "step": step}
            edits.append({**told, "rule": change.rule, "before": change.before, "after": change.after})
    return CuratedCase(row, edits, case.split)


def curated_pair(
    found: Gathered,
    listing: Listing,
    case: CuratedCase,
    stored: StoredImage,
    facts: Mapping[str, Any] | None,
    review: verdicts.Review = verdicts.NO_REVIEW,
) -> CuratedPair:
    """Clean and label one image with its caption; the first reason to drop it is the one that is told."""
    image = listing.image
    cleaned = review.rewritten(clean.clean(image.caption))
    labelled = labels.label(
        modality_raw=image.modality,
        plane_raw=image.plane,
        caption=cleaned.text,
        case_texts={name: case.row[name] for name in CASE_TEXTS},
        acr_code=image.acr_code,
        dicom=image.dicom,
        location=case.row["location"],
        pixels=facts,
        reviewed=review.labels,
    )
    reason = review.drop_reason(_drop_reason(labelled.drop_reason, cleaned.drop_reason), cleaned.text)
    pair: Row = {
        "id": f"{found.source}:{image.key}",
        "source_id": found.source_id,
        "upstream_id": image.key,
        "upstream_name": image.name,
        "panel": image.key.partition("#")[2],
        "study_case_id": case.row["id"],
        "image_sha256": stored.sha256,
        "caption_raw": image.caption,
        "caption": cleaned.text or None,
        "status": DROPPED if reason else KEPT,
        "drop_reason": reason,
        "drop_detail": None,
        "modality_raw": image.modality,
        "plane_raw": image.plane,
        **{name: getattr(labelled, name) for name in ("modality", "plane", "region", "laterality")},
        "age": case.row["age"],
        "sex": case.row["sex"],
        "acr_code": image.acr_code,
        "figure_part": image.figure_part,
        "credit": image.credit or case.row["credit"],
    }
    of_pair = {"pair_id": pair["id"]}
    return CuratedPair(
        row=pair,
        source=found.source,
        case=case,
        image=stored,
        licence=image.licence or case.row["licence"],
        edits=[
            {**of_pair, "step": step, "rule": change.rule, "before": change.before, "after": change.after}
            for step, change in enumerate(cleaned.edits, 1)
        ],
        labels=[{**of_pair, **vars(vote)} for vote in labelled.votes],
        conflicts=[{**of_pair, **vars(conflict)} for conflict in labelled.conflicts],
        unknown=dict(_unknown(image.modality, image.plane)),
        caption_group=caption_group(pair["caption"] or ""),
    )


def _unknown(modality: str | None, plane: str | None) -> Iterator[tuple[str, str]]:
    if not read_modality(modality).known:
        yield "modality", modality or ""
    if not read_plane(plane).known:
        yield "plane", plane or ""


def _drop_reason(of_labels: str | None, of_caption: str | None) -> str | None:
    """What is wrong with the image before what is wrong with the words; but a caption might have named a modality."""
    return of_caption if (of_labels, of_caption) == (NOT_ASSIGNED, EMPTY) else of_labels or of_caption


def caption_group(caption: str) -> str:
    """Equal for captions that differ in case and spaces only."""
    return hashlib.sha256(" ".join(caption.casefold().split()).encode()).hexdigest()[:16]


def frozen_row(pair: CuratedPair, split: str, group: str, cluster: str) -> Row:
    """What a version keeps of a pair, but for the version's id."""
    same = ("caption", "modality", "plane", "region", "laterality", "upstream_name", "credit")
    return {
        "pair_id": pair.row["id"],
        "image_path": pair.image.image_path,
        "sha256": pair.image.sha256,
        **{name: pair.row[name] for name in same},
        "split": split,
        "case_id": pair.case.row["id"],
        "caption_group": pair.caption_group,
        "source": pair.source,
        "source_id": pair.row["upstream_id"],
        "title": pair.case.row["title"],
        "diagnosis": pair.case.row["diagnosis"],
        "licence": pair.licence,
        "duplicate_cluster": cluster,
        "patient_key": pair.case.row["patient_key"],
        "split_group": group,
    }
