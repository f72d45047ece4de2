"""Build a version: from the newest raw records to cleaned, labelled, split pairs, in one transaction."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, delete, select

from corpus_db import clean, db, split, version
from corpus_db.errors import UserError
from corpus_db.gather import Gathered, Listing, StoredImage, gather, owned_listings, table, withheld_keys
from corpus_db.modality import Modality, Plane, read_modality, read_plane
from corpus_db.records import CaseRecord, Readers

GONE = "gone_upstream"
KEPT, DROPPED = "kept", "dropped"
Row = dict[str, Any]


@dataclass
class BuildResult:
    """What a build made, and what it did not."""

    name: str = ""
    version_id: int = 0
    reused: bool = False
    manifest_sha256: str = ""
    sources: list[str] = field(default_factory=list)
    cases: int = 0
    by_status: Counter[str] = field(default_factory=Counter)
    by_drop_reason: Counter[str] = field(default_factory=Counter)
    by_modality: Counter[str] = field(default_factory=Counter)
    by_split: Counter[str] = field(default_factory=Counter)
    unknown_modalities: Counter[str] = field(default_factory=Counter)
    unknown_planes: Counter[str] = field(default_factory=Counter)
    without_image: int = 0  # listed, but no bytes that count: see the ledger
    withheld: int = 0  # deleted or hidden upstream
    unread_sources: list[str] = field(default_factory=list)  # of a shape that no reader understands


@dataclass(frozen=True)
class Built:
    """One pair with everything that is written of it."""

    pair: Row
    frozen: Row | None  # null where the pair is dropped
    edits: tuple[Row, ...]
    labels: tuple[Row, ...]
    modality: Modality
    plane: Plane


def build(engine: Engine, readers: Readers, name: str | None = None) -> BuildResult:
    """Curate everything anew and freeze it; equal content gives the version that already holds it.

    The caller holds `db.exclusive`. `readers` are by source.shape.
    """
    result = BuildResult()
    with engine.begin() as connection:
        gathered = _gather_all(connection, readers, result)
        cases = [case_row(found, case) for found in gathered for case in found.cases.values()]
        pairs = [pair for found in gathered for pair in built_pairs(found, result)]
        _count(pairs, result)
        result.cases = len(cases)
        frozen_rows = [pair.frozen for pair in pairs if pair.frozen]
        if not frozen_rows:
            raise UserError(_nothing_kept(result))
        _replace_curated(connection, cases, pairs)
        frozen = version.freeze(connection, frozen_rows, name, _config(result.sources))
        edits = (row for pair in pairs for row in pair.edits)
        labels = (row for pair in pairs for row in pair.labels)
        version.replace_votes(connection, frozen.id, edits, labels)
    result.name, result.version_id, result.reused = frozen.name, frozen.id, frozen.reused
    result.manifest_sha256 = frozen.manifest_sha256
    return result


def case_row(found: Gathered, case: CaseRecord) -> Row:
    """The study_case row of a case, with what its topic adds."""
    topic = found.topics.get(case.topic_key or "")
    taken = ("history", "exam", "findings", "ddx", "diagnosis", "diagnosis_by", "treatment", "discussion", "age", "sex")
    return {
        "id": case_id(found, case),
        "source_id": found.source_id,
        "upstream_id": case.key,
        "title": case.title or (topic.title if topic else None),
        "topic": topic.title if topic else None,
        "location": topic.location if topic else None,
        "credit": case.credit,
        "licence": found.licence,
        **{name: getattr(case, name) for name in taken},
    }


def case_id(found: Gathered, case: CaseRecord) -> str:
    """A case's key across sources."""
    return f"{found.source}:{case.key}"


def built_pairs(found: Gathered, result: BuildResult) -> Iterator[Built]:
    """The pairs of one source; what is withheld or has no bytes is only counted."""
    withheld = withheld_keys(found.cases.values())
    for listing in owned_listings(found.cases):
        if listing.image.key in withheld:
            result.withheld += 1
            continue
        stored = found.images.of(listing.image)
        gone = listing.case.key in found.gone or (stored is not None and stored.status == "gone")
        if stored is None or not (gone or stored.status == "ok"):
            result.without_image += 1
            continue
        yield built_pair(found, listing, stored, gone)


def built_pair(found: Gathered, listing: Listing, stored: StoredImage, gone: bool) -> Built:
    """Clean, label and judge one image with its caption; the first reason to drop it is the one that is told."""
    case, image = listing.case, listing.image
    modality, plane = read_modality(image.modality), read_plane(image.plane)
    cleaned = clean.clean(image.caption)
    reason = GONE if gone else modality.drop_reason or plane.drop_reason or cleaned.drop_reason
    pair: Row = {
        "id": f"{found.source}:{image.key}",
        "source_id": found.source_id,
        "upstream_id": image.key,
        "upstream_name": image.name,
        "panel": "",
        "study_case_id": case_id(found, case),
        "image_sha256": stored.sha256,
        "caption_raw": image.caption,
        "caption": cleaned.text or None,
        "status": DROPPED if reason else KEPT,
        "drop_reason": reason,
        "modality_raw": image.modality,
        "modality": modality.code,
        "plane_raw": image.plane,
        "plane": plane.plane,
        "age": case.age,
        "sex": case.sex,
        "acr_code": image.acr_code,
        "figure_part": image.figure_part,
        "credit": image.credit or case.credit,
    }
    return Built(
        pair,
        None if reason else frozen_row(found, pair, case_row(found, case), stored),
        tuple(
            {"pair_id": pair["id"], "step": step, "rule": edit.rule, "before": edit.before, "after": edit.after}
            for step, edit in enumerate(cleaned.edits, 1)
        ),
        tuple(label_rows(pair, modality, plane)),
        modality,
        plane,
    )


def frozen_row(found: Gathered, pair: Row, case: Row, stored: StoredImage) -> Row:
    """What a version keeps of a pair, but for the version's id."""
    same = ("caption", "modality", "plane", "upstream_name", "credit")
    return {
        "pair_id": pair["id"],
        "image_path": stored.image_path,
        "sha256": stored.sha256,
        **{name: pair[name] for name in same},
        "region": None,
        "laterality": None,
        "split": split.split_of(case["id"]),
        "case_id": case["id"],
        "caption_group": caption_group(pair["caption"]),
        "source": found.source,
        "source_id": pair["upstream_id"],
        "title": case["title"],
        "diagnosis": case["diagnosis"],
        "licence": case["licence"],
        "duplicate_cluster": stored.sha256[:16],
    }


def caption_group(caption: str) -> str:
    """Equal for captions that differ in case and spaces only."""
    return hashlib.sha256(" ".join(caption.casefold().split()).encode()).hexdigest()[:16]


def label_rows(pair: Row, modality: Modality, plane: Plane) -> Iterator[Row]:
    """The votes that the source's own words cast."""
    votes = [("modality", modality.code, pair["modality_raw"]), ("plane", plane.plane, pair["plane_raw"])]
    votes += [(name, value, pair["modality_raw"]) for name, value in modality.details]
    for name, value, words in votes:
        if value:
            evidence = f"upstream: {words}"
            yield {"pair_id": pair["id"], "field": name, "value": value, "evidence": evidence, "confidence": 1.0}


def _gather_all(connection: Connection, readers: Readers, result: BuildResult) -> list[Gathered]:
    gathered = []
    for source in connection.execute(select(table("source")).order_by(table("source").c.name)).mappings().all():
        if source["shape"] in readers:
            gathered.append(gather(connection, source, readers[source["shape"]]))
            result.sources.append(source["name"])
        else:
            result.unread_sources.append(source["name"])
    return gathered


def _replace_curated(connection: Connection, cases: list[Row], pairs: list[Built]) -> None:
    for name in ("pair", "study_case"):
        connection.execute(delete(table(name)))
    version.insert_rows(connection, "study_case", cases)
    version.insert_rows(connection, "pair", (built.pair for built in pairs))


def _count(pairs: list[Built], result: BuildResult) -> None:
    for built in pairs:
        result.by_status[built.pair["status"]] += 1
        if built.frozen:
            result.by_modality[built.frozen["modality"]] += 1
            result.by_split[built.frozen["split"]] += 1
        else:
            result.by_drop_reason[built.pair["drop_reason"]] += 1
        if not built.modality.known:
            result.unknown_modalities[built.pair["modality_raw"]] += 1
        if not built.plane.known:
            result.unknown_planes[built.pair["plane_raw"]] += 1


def _config(sources: list[str]) -> Row:
    return {
        "rules": [rule.name for rule in clean.RULES],
        "split_percent": split.PERCENT,
        "schema": ScriptDirectory(str(db.MIGRATIONS)).get_current_head(),
        "sources": sources,
    }


def _nothing_kept(result: BuildResult) -> str:
    if not result.cases:
        return "nothing to build from: no case was crawled or imported yet; run: python cli.py crawl"
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(result.by_drop_reason.items()))
    return (
        f"no pair was kept of {result.cases} cases ({result.without_image} images without bytes, "
        f"{result.withheld} withheld{', dropped: ' + reasons if reasons else ''}); "
        "crawl more of them (python cli.py crawl --retry-failed), then build again"
    )
