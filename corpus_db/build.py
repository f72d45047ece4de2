"""Build a version: from the newest raw records to cleaned, labelled, de-duplicated, split pairs, in one transaction."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, delete, func, select

from corpus_db import audit, card, clean, db, exclude, measure, repeats, split, verdicts, version
from corpus_db.curate import Curated, CuratedPair, Row, curate, frozen_row
from corpus_db.errors import UserError
from corpus_db.gather import gather, table
from corpus_db.models import QUESTIONS
from corpus_db.records import Readers

EXCLUDED, CONFLICT = "excluded", "split_conflict"
Say = Callable[[str], None]


@dataclass
class BuildResult:
    """What a build made, and what it did not."""

    name: str = ""
    version_id: int = 0
    reused: bool = False
    manifest_sha256: str = ""
    sources: list[str] = field(default_factory=list)
    cases: int = 0  # read
    kept_cases: int = 0  # with a pair in the version
    by_status: Counter[str] = field(default_factory=Counter)
    by_drop_reason: Counter[str] = field(default_factory=Counter)
    by_modality: Counter[str] = field(default_factory=Counter)
    by_split: Counter[str] = field(default_factory=Counter)
    deviation: dict[str, dict[str, float]] = field(default_factory=dict)  # modality -> split -> points off its share
    edits: Counter[str] = field(default_factory=Counter)  # by rule, of captions
    case_edits: Counter[str] = field(default_factory=Counter)  # by rule, of case texts
    conflicts: Counter[str] = field(default_factory=Counter)  # by field, of kept pairs
    reviewed: Counter[str] = field(default_factory=Counter)  # verdicts of persons that it obeyed, by decision
    not_obeyed: list[str] = field(default_factory=list)  # verdicts that it could not, each with why
    unknown_modalities: Counter[str] = field(default_factory=Counter)
    unknown_planes: Counter[str] = field(default_factory=Counter)
    without_image: int = 0  # listed, but no bytes that count: see the ledger
    withheld: int = 0  # deleted or hidden upstream
    unreadable: list[str] = field(default_factory=list)  # images whose bytes have gone since they were stored
    unread_sources: list[str] = field(default_factory=list)  # of a shape that no reader understands
    audit: list[dict[str, Any]] = field(default_factory=list)
    card: str | None = None  # where the data card is


@dataclass
class Plan:
    """Everything that is about to be written."""

    curated: list[Curated]
    pairs: list[CuratedPair]
    frozen: list[Row]
    duplicates: list[Row]


def build(
    engine: Engine,
    readers: Readers,
    name: str | None = None,
    *,
    excluding: Sequence[str] = (),
    whole_cases: bool = True,
    audited: bool = True,
    say: Say = lambda line: None,
) -> BuildResult:
    """Curate everything anew and freeze it; equal content gives the version that already holds it.

    `excluding`: evaluation sets as source:split. A version whose audit fails is not made: UserError. The caller holds
    `db.exclusive`. `readers` are by source.shape.
    """
    result = BuildResult()
    root = db.image_root(engine.url)
    measured = measure.measure(engine, root, say)
    result.unreadable = measured.unreadable
    with engine.begin() as connection:
        plan = _plan(connection, readers, measured, excluding, whole_cases, result)
        _count(plan, result)
        if not plan.frozen:
            raise UserError(_nothing_kept(result))
        _replace_curated(connection, plan)
        frozen = version.freeze(connection, plan.frozen, name, _config(result.sources, excluding, whole_cases))
        version.replace_rows(connection, frozen.id, _told(plan))
        result.name, result.version_id, result.reused = frozen.name, frozen.id, frozen.reused
        result.manifest_sha256 = frozen.manifest_sha256
        audit_text = _audited(connection, root, readers, result, say) if audited else None
    with engine.connect() as connection:
        result.card = str(card.write(connection, result.version_id, card.folder_of(engine.url), audit=audit_text))
    return result


def _plan(
    connection: Connection,
    readers: Readers,
    measured: measure.Measured,
    excluding: Sequence[str],
    whole_cases: bool,
    result: BuildResult,
) -> Plan:
    """Curate each pair, then drop what is excluded, repeated, or in conflict with where earlier versions put it."""
    purged = set(connection.execute(select(table("tombstone").c.pair_id)).scalars())
    reviews = verdicts.load(connection)
    curated = _curate_all(connection, readers, measured, reviews, result)
    earlier = list(_earlier(connection))
    known = split.known_from(earlier)
    pairs = [pair for each in curated for pair in each.pairs if pair.row["id"] not in purged]
    pairs = repeats.by_age(pairs, {row["pair_id"]: row["since"] for row in earlier})
    images = repeats.Images(measured.likenesses)
    _exclude(connection, curated, pairs, images, excluding, whole_cases)
    repeats.drop_same_names([pair for pair in pairs if pair.kept])
    repeats.drop_repeats([pair for pair in pairs if pair.kept], images)
    places = _place([pair for pair in pairs if pair.kept], images, known)
    kept = [pair for pair in pairs if pair.kept]
    clusters = repeats.cluster_names(kept, images)
    _tell_reviews(reviews, pairs, result)
    frozen = []
    for pair in kept:
        place = places[pair.row["id"]]
        frozen.append(frozen_row(pair, place.split, place.group, clusters[pair.row["id"]]))
    shown = [pair for pair in pairs if pair.kept or pair.row["drop_reason"] == repeats.DUPLICATE]
    return Plan(
        curated, pairs, frozen, list(repeats.duplicate_rows(shown, images, repeats.cluster_names(shown, images)))
    )


def _curate_all(
    connection: Connection,
    readers: Readers,
    measured: measure.Measured,
    reviews: Mapping[str, verdicts.Review],
    result: BuildResult,
) -> list[Curated]:
    curated = []
    for source in connection.execute(select(table("source")).order_by(table("source").c.name)).mappings().all():
        if source["shape"] in readers:
            curated.append(curate(gather(connection, source, readers[source["shape"]]), measured.facts, reviews))
            result.sources.append(source["name"])
        elif source["shape"] != QUESTIONS:
            result.unread_sources.append(source["name"])
    return curated


def _tell_reviews(reviews: Mapping[str, verdicts.Review], pairs: Sequence[CuratedPair], result: BuildResult) -> None:
    """What became of each verdict that counts."""
    met = {pair.row["id"]: pair for pair in pairs}
    for pair_id, review in sorted(reviews.items()):
        for row in review.rows.values():
            pair = met.get(pair_id)
            told = verdicts.outcome(row, pair.row, pair.labels) if pair else "no source lists the pair any more"
            if told == verdicts.OBEYED:
                result.reviewed[row["decision"]] += 1
            else:
                result.not_obeyed.append(f"{pair_id}: {row['decision']}: {told}")


def _earlier(connection: Connection) -> Iterable[Any]:
    """Each pair as the newest of the current version and its ancestors has it, newest first, and which had it first."""
    versions, frozen = table("version"), table("version_pair")
    parents: dict[int, int | None] = {
        row.id: row.parent_id for row in connection.execute(select(versions.c.id, versions.c.parent_id))
    }
    line, at = [], version.current_id(connection)
    while at is not None and at not in line:
        line.append(at)
        at = parents[at]
    newest = (
        select(
            frozen.c.pair_id,
            func.max(frozen.c.version_id).label("version_id"),
            func.min(frozen.c.version_id).label("since"),
        )
        .where(frozen.c.version_id.in_(line))
        .group_by(frozen.c.pair_id)
        .subquery()
    )
    names = ("pair_id", "case_id", "patient_key", "sha256", "split", "split_group")
    statement = select(*(frozen.c[name] for name in names), newest.c.since).join(
        newest, (newest.c.pair_id == frozen.c.pair_id) & (newest.c.version_id == frozen.c.version_id)
    )
    return connection.execute(statement.order_by(frozen.c.version_id.desc(), frozen.c.pair_id)).mappings()


def _exclude(
    connection: Connection,
    curated: Sequence[Curated],
    pairs: Sequence[CuratedPair],
    images: repeats.Images,
    excluding: Sequence[str],
    whole_cases: bool,
) -> None:
    """Drop what the evaluation sets hold; in finding its cases, images that are no pair count as well."""
    sha256s = {pair.row["id"]: pair.image.sha256 for pair in pairs}
    candidates = [
        exclude.Candidate(pair_id, case_id, name, sha256s.get(pair_id, ""))
        for each in curated
        for case_id, pair_id, name in each.listed
    ]
    held = exclude.excluded(candidates, exclude.load(connection, excluding), images.kinds, whole_cases)
    for pair in pairs:
        if pair.row["id"] in held:
            pair.drop(EXCLUDED, held[pair.row["id"]])


def _place(kept: Sequence[CuratedPair], images: repeats.Images, known: split.Known) -> dict[str, split.Place]:
    members = [
        split.Member(
            pair.row["id"],
            pair.case.row["id"],
            pair.case.row["patient_key"],
            pair.image.sha256,
            pair.row["caption"],
            pair.caption_group,
            images.matches(pair.image.sha256),
            pair.case.split,
            tuple(pair.other_cases),
        )
        for pair in kept
    ]
    places = split.assign(members, known)
    for pair in kept:
        if told := places[pair.row["id"]].conflict:
            pair.drop(CONFLICT, told)
    return places


def _replace_curated(connection: Connection, plan: Plan) -> None:
    for name in ("pair", "study_case"):
        connection.execute(delete(table(name)))
    version.insert_rows(connection, "study_case", (case.row for each in plan.curated for case in each.cases))
    version.insert_rows(connection, "pair", (pair.row for pair in plan.pairs))


def _told(plan: Plan) -> dict[str, Iterable[Row]]:
    """What the build did, by table, to be kept with its version."""
    dropped = (pair.row for pair in plan.pairs if not pair.kept)
    return {
        "edit": (row for pair in plan.pairs for row in pair.edits),
        "label": (row for pair in plan.pairs for row in pair.labels),
        "conflict": (row for pair in plan.pairs for row in pair.conflicts),
        "duplicate": plan.duplicates,
        "case_edit": (row for each in plan.curated for case in each.cases for row in case.edits),
        "version_drop": (
            {"pair_id": row["id"], "reason": row["drop_reason"], "detail": row["drop_detail"]} for row in dropped
        ),
    }


def _audited(connection: Connection, root: Any, readers: Readers, result: BuildResult, say: Say) -> str:
    """Prove the version before it is committed; its checks as text for the data card."""
    found = audit.audit_connection(connection, root, result.version_id, readers=readers, say=say)
    result.audit = [vars(check) for check in found.checks]
    if found.failed:
        broken = "; ".join(f"{check.name}: {check.count} ({', '.join(check.examples[:2])})" for check in found.broken)
        raise UserError(
            f"the audit failed, so no version was made: {broken}; docs/audit.md says what each is and what mends it"
        )
    return audit.audit_markdown(found)


def _count(plan: Plan, result: BuildResult) -> None:
    result.cases = sum(len(each.cases) for each in plan.curated)
    result.without_image = sum(each.without_image for each in plan.curated)
    result.withheld = sum(each.withheld for each in plan.curated)
    for pair in plan.pairs:
        result.by_status[pair.row["status"]] += 1
        result.by_drop_reason.update([pair.row["drop_reason"]] if not pair.kept else [])
        result.edits.update(edit["rule"] for edit in pair.edits)
        result.conflicts.update({conflict["field"] for conflict in pair.conflicts} if pair.kept else [])
        for what, words in pair.unknown.items():
            (result.unknown_modalities if what == "modality" else result.unknown_planes)[words] += 1
    result.case_edits.update(row["rule"] for each in plan.curated for case in each.cases for row in case.edits)
    for row in plan.frozen:
        result.by_modality[row["modality"] or "none"] += 1
        result.by_split[row["split"]] += 1
    result.kept_cases = len({row["case_id"] for row in plan.frozen})
    result.deviation = split.deviation((row["modality"] or "none", row["split"]) for row in plan.frozen)


def _config(sources: Sequence[str], excluding: Sequence[str], whole_cases: bool) -> Row:
    return {
        "rules": [rule.name for rule in clean.RULES],
        "algorithms": measure.ALGORITHMS,
        "split_percent": split.PERCENT,
        "schema": ScriptDirectory(str(db.MIGRATIONS)).get_current_head(),
        "sources": list(sources),
        "exclude": sorted(set(excluding)),
        "exclude_cases": whole_cases,
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
