"""The queue of pairs that a person should look at, each with its reasons; what was decided leaves it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Select, and_, select

from corpus_db import db, verdicts
from corpus_db.cleaning.drops import CROSS_REFERENCE_ONLY, HISTORY_ONLY, PLACEHOLDER
from corpus_db.explain import checked, pair_of, unknown
from corpus_db.gather import table
from corpus_db.labels import agree
from corpus_db.modality import CODES, NOT_ASSIGNED, NOT_RADIOLOGY, UNKNOWN
from corpus_db.sql_output import shown
from corpus_db.verdicts import VALUES, Decision

KINDS = {  # in the order in which they are worth a person's time
    "conflict": "two votes for a label cannot both hold",
    "near_duplicate": "another pair shows the same picture and has another label",
    "dropped": "dropped by a rule that may err",
    "short_caption": "a caption of one or two words",
}
# the reasons that read meaning into a caption; a template, an empty caption or a photograph leaves no doubt
_DOUBTFUL = (UNKNOWN, NOT_ASSIGNED, HISTORY_ONLY, PLACEHOLDER, CROSS_REFERENCE_ONLY)
_SHORT = 3  # words, from which a caption is not short
_FIELDS = tuple(VALUES)
_CUT = 70  # characters of a caption in a line
Told = tuple[str, str | None, str]  # pair id, label, what is suspect


@dataclass(frozen=True)
class Suspicion:
    """Why a pair is in the queue: a key of KINDS, the label in question where it is one, and what in particular."""

    kind: str
    field: str | None
    says: str


@dataclass(frozen=True)
class Item:
    """One pair to look at; plain values that JSON can hold."""

    pair_id: str
    caption: str | None
    status: str
    suspicions: list[Suspicion]


def queue(engine: Engine) -> list[Item]:
    """All pairs of the last build that nobody has decided on, the most telling suspicion first."""
    with engine.connect() as connection:
        return _queue(connection)


def decide(engine: Engine, key: str, decisions: Sequence[Decision], by: str, why: str | None) -> tuple[str, list[str]]:
    """Record decisions on the pair that a key names, as `explain` takes it; gives its id and `verdicts.record`'s notes.

    The caller holds `db.exclusive`.
    """
    key = checked(key)
    with engine.begin() as connection:
        pair_id = pair_of(connection, key)
        if pair_id is None:
            raise unknown(key)
        return pair_id, verdicts.record(connection, pair_id, decisions, by, why)


def decide_alone(engine: Engine, key: str, decisions: Sequence[Decision], by: str, why: str | None) -> list[str]:
    """`decide` that holds the database's lock for no longer than the writing takes; UserError where it is busy."""
    with db.exclusive(engine):
        return decide(engine, key, decisions, by, why)[1]


def _queue(connection: Connection) -> list[Item]:
    decided = verdicts.load(connection).keys()
    found: dict[str, list[Suspicion]] = defaultdict(list)
    for kind, pairs in (
        ("conflict", _conflicts(connection)),
        ("near_duplicate", _near(connection)),
        ("dropped", _dropped(connection)),
        ("short_caption", _short(connection)),
    ):
        for pair_id, field, says in pairs:
            if pair_id not in decided:
                found[pair_id].append(Suspicion(kind, field, says))
    pair = table("pair")
    known = {row.id: row for row in connection.execute(select(pair.c.id, pair.c.caption, pair.c.status))}
    for suspicions in found.values():
        suspicions.sort(key=_rank)
    order = sorted(found, key=lambda pair_id: (_rank(found[pair_id][0]), pair_id))
    return [Item(id_, known[id_].caption, known[id_].status, found[id_]) for id_ in order]


def _rank(suspicion: Suspicion) -> tuple[int, int]:
    return [*KINDS].index(suspicion.kind), _FIELDS.index(suspicion.field) if suspicion.field else len(_FIELDS)


def _conflicts(connection: Connection) -> Iterator[Told]:
    """Of the labels that a version freezes, and of kept pairs: the others harm nobody."""
    conflict, pair, current = table("conflict"), table("pair"), table("current_version")
    statement = (
        select(conflict)
        .join(current, current.c.version_id == conflict.c.version_id)
        .join(pair, pair.c.id == conflict.c.pair_id)
        .where(pair.c.status == "kept", conflict.c.field.in_(_FIELDS))
        .order_by(conflict.c.id)
    )
    for row in connection.execute(statement):
        other = f"{row.other_voter} {row.other_value} ({row.other_evidence})"
        yield row.pair_id, row.field, f"{row.field}: {row.voter} {row.value} ({row.evidence}) against {other}"


def _near(connection: Connection) -> Iterator[Told]:
    """Both of two kept pairs that show one picture with labels that cannot both be right."""
    duplicate, one, other = table("duplicate"), table("pair").alias("one"), table("pair").alias("other")
    current = table("current_version")
    statement: Select[Any] = (
        select(
            duplicate.c.kind,
            one.c.id,
            other.c.id.label("like_id"),
            *(one.c[name].label(f"one_{name}") for name in _FIELDS),
            *(other.c[name].label(f"other_{name}") for name in _FIELDS),
        )
        .join(current, current.c.version_id == duplicate.c.version_id)
        .join(one, and_(one.c.id == duplicate.c.pair_id, one.c.status == "kept"))
        .join(other, and_(other.c.id == duplicate.c.like_pair_id, other.c.status == "kept"))
        .where(duplicate.c.kind.in_(("bytes", "pixels", "near")))
        .order_by(duplicate.c.id)
    )
    for row in connection.execute(statement).mappings():
        for name in _FIELDS:
            mine, its = row[f"one_{name}"], row[f"other_{name}"]
            if mine and its and not agree(name, mine, its):
                yield row["id"], name, f"{name}: {mine} here, {its} in {row['like_id']} ({row['kind']})"
                yield row["like_id"], name, f"{name}: {its} here, {mine} in {row['id']} ({row['kind']})"


def _dropped(connection: Connection) -> Iterator[Told]:
    pair, label, current = table("pair"), table("label"), table("current_version")
    voted = (
        select(label.c.pair_id)
        .join(current, current.c.version_id == label.c.version_id)
        .where(label.c.field == "modality", label.c.value.in_(CODES))
    )
    doubtful = pair.c.drop_reason.in_(_DOUBTFUL) & pair.c.caption.is_not(None)
    disputed = (pair.c.drop_reason == NOT_RADIOLOGY) & pair.c.id.in_(voted)
    statement = (
        select(pair.c.id, pair.c.drop_reason, pair.c.modality_raw).where(doubtful | disputed).order_by(pair.c.id)
    )
    for row in connection.execute(statement):
        of_modality = row.drop_reason in (UNKNOWN, NOT_RADIOLOGY, NOT_ASSIGNED)
        upstream = f" (upstream: {row.modality_raw})" if of_modality and row.modality_raw else ""
        yield row.id, "modality" if of_modality else None, f"{row.drop_reason}{upstream}"


def _short(connection: Connection) -> Iterator[Told]:
    pair = table("pair")
    statement = select(pair.c.id, pair.c.caption).where(pair.c.status == "kept").order_by(pair.c.id)
    for row in connection.execute(statement):
        words = len((row.caption or "").split())
        if words < _SHORT:
            yield row.id, None, f"{words} {'word' if words == 1 else 'words'}: {row.caption}"


def plain(items: Iterable[Item]) -> list[dict[str, Any]]:
    """All of it as JSON can hold it."""
    return [asdict(item) for item in items]


def render_queue(items: Sequence[Item]) -> Iterator[str]:
    """How many wait and why, then each with its first suspicion."""
    kinds = Counter(kind for item in items for kind in {suspicion.kind for suspicion in item.suspicions})
    reasons = ", ".join(f"{kind} {kinds[kind]}" for kind in KINDS if kinds[kind])
    waiting = f"{len(items)} pair{'s' * (len(items) != 1)} to look at"
    yield f"{waiting}, by reason (a pair may have several): {reasons}" if items else waiting
    for item in items:
        first, *more = item.suspicions
        beside = f" (+{len(more)})" if more else ""
        yield shown(f"{item.pair_id}  {first.kind}: {_cut(first.says)}{beside}")


def _cut(text: str) -> str:
    return text if len(text) <= _CUT else f"{text[: _CUT - 1]}…"
