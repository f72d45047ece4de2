"""Say why a frozen value differs between two versions, from what their builds and the crawls wrote of it."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from corpus_db.gather import CHUNK, table
from corpus_db.verdicts import REVIEWED
from corpus_db.version import VersionRow

DRIFT, RULES, VOTES, IMAGE = "upstream_drift", "rule_changed", "votes_changed", "image_drift"
DUPLICATES, RENAMED, REGROUPED, SPLIT_MOVED = "duplicate_found", "cluster_renamed", "regrouped", "split_moved"
FOLLOWS, UNEXPLAINED = "follows", "unexplained"
_LABELS = ("modality", "plane", "region", "laterality")
_CASE_TEXTS = ("title", "diagnosis")
_NAMED = 3  # duplicates that a detail names

Reason = tuple[str, str | None]  # one of the above or REVIEWED, and what in particular
Rows = Mapping[str, Mapping[str, Any]]  # pair id -> frozen columns
Kept = defaultdict[tuple[int, str], list[Any]]  # (version id, key) -> rows that a build wrote of it


def reasons_of(
    connection: Connection, one: VersionRow, other: VersionRow, before: Rows, after: Rows
) -> Callable[[str, str], Reason]:
    """A function (pair id, column) -> reason, for the pairs that differ, as they are in `one` and in `other`."""
    return _Reasons(_load(connection, one, other, before, after), one, other, before, after).of


@dataclass(frozen=True)
class _Told:
    """What the two builds wrote of the pairs in question."""

    edits: Kept
    labels: Kept
    case_edits: Kept
    duplicates: Kept  # by cluster
    drift: Mapping[tuple[str, str, str], str]  # (source, key, field) -> when a crawl last noted it


def _load(connection: Connection, one: VersionRow, other: VersionRow, before: Rows, after: Rows) -> _Told:
    def differing(*names: str) -> list[str]:
        return [key for key in before if any(before[key][name] != after[key][name] for name in names)]

    cases = {side[key]["case_id"] for key in differing(*_CASE_TEXTS) for side in (before, after)}
    clusters = {side[key]["duplicate_cluster"] for key in differing("duplicate_cluster") for side in (before, after)}
    both = one.id, other.id
    return _Told(
        _written(connection, "edit", "pair_id", both, differing("caption")),
        _written(connection, "label", "pair_id", both, differing(*_LABELS)),
        _written(connection, "case_edit", "study_case_id", both, cases),
        _written(connection, "duplicate", "cluster", both, clusters),
        dict(_drift(connection)) if before else {},
    )


def _written(connection: Connection, name: str, key: str, versions: Sequence[int], keys: Collection[str]) -> Kept:
    rows, found = table(name), Kept(list)
    asked = sorted(keys)
    for start in range(0, len(asked), CHUNK):
        mine = rows.c[key].in_(asked[start : start + CHUNK]) & rows.c.version_id.in_(versions)
        columns = [column for column in rows.c if column.name not in ("id", "version_id", key)]
        statement = select(rows.c.version_id, rows.c[key].label("key"), *columns).where(mine).order_by(rows.c.id)
        for row in connection.execute(statement):
            found[row[0], row[1]].append(row)
    return found


def _drift(connection: Connection) -> Iterator[tuple[tuple[str, str, str], str]]:
    drift, source, crawl = table("drift"), table("source"), table("crawl")
    statement = (
        select(source.c.name, drift.c.key, drift.c.field, crawl.c.started)
        .join(source, source.c.id == drift.c.source_id)
        .join(crawl, crawl.c.id == drift.c.crawl_id)
        .where(drift.c.key.is_not(None))
        .order_by(drift.c.id)
    )
    for row in connection.execute(statement):
        yield (row.name, row.key, row.field), str(row.started)[:16]


class _Reasons:
    """Holds both versions' rows; `of` answers for one column."""

    def __init__(self, told: _Told, one: VersionRow, other: VersionRow, before: Rows, after: Rows):
        self.told, self.one, self.other, self.before, self.after = told, one, other, before, after

    def of(self, pair_id: str, column: str) -> Reason:
        a, b = self.before[pair_id], self.after[pair_id]
        if column == "split":
            return SPLIT_MOVED, f"group {a['split_group']} -> {b['split_group']}; a split must never move"
        if column == "caption":
            return self._caption(pair_id, a, b)
        if column in _LABELS:
            return self._label(pair_id, column)
        if column == "sha256":
            return IMAGE, self._noted(a, a["upstream_name"], "bytes")
        if column == "duplicate_cluster":
            return self._cluster(pair_id, a, b)
        if column == "split_group":
            return REGROUPED, "it shares a case, patient, image or caption with other pairs than before"
        if column in _CASE_TEXTS:
            return self._case_text(column, a, b)
        for name, leader in (("caption_group", "caption"), ("image_path", "sha256")):
            if column == name:
                return (FOLLOWS, leader) if a[leader] != b[leader] else (RULES, f"how {name} is made")
        return DRIFT, None

    def _caption(self, pair_id: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> Reason:
        old, new = self.told.edits[self.one.id, pair_id], self.told.edits[self.other.id, pair_id]
        if _raw(old, a["caption"]) != _raw(new, b["caption"]):
            return DRIFT, self._noted(a, a["source_id"], "caption")
        return _ruled(old, new)

    def _label(self, pair_id: str, column: str) -> Reason:
        old, new = (
            {
                (vote.voter, vote.value, vote.evidence)
                for vote in self.told.labels[side, pair_id]
                if vote.field == column
            }
            for side in (self.one.id, self.other.id)
        )
        lost, won = sorted(old - new), sorted(new - old)
        told = [
            f"{sign}{voter} {value} ({evidence})"
            for sign, votes in (("-", lost), ("+", won))
            for voter, value, evidence in votes
        ]
        if not told:
            return RULES, "same votes, weighed otherwise"
        drifted = "upstream" in {voter for voter, *_ in lost} & {voter for voter, *_ in won}
        return DRIFT if drifted else VOTES, ", ".join(told)

    def _case_text(self, column: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> Reason:
        old, new = (
            [edit for edit in self.told.case_edits[side, row["case_id"]] if edit.field == column]
            for side, row in ((self.one.id, a), (self.other.id, b))
        )
        if _raw(old, a[column]) != _raw(new, b[column]):
            return DRIFT, self._noted(a, a["case_id"].partition(":")[2], column)
        return _ruled(old, new)

    def _cluster(self, pair_id: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> Reason:
        if a["sha256"] != b["sha256"]:
            return FOLLOWS, "sha256"
        old = self.told.duplicates[self.one.id, a["duplicate_cluster"]]
        new = self.told.duplicates[self.other.id, b["duplicate_cluster"]]
        known = {member.pair_id for member in old}
        joined = [member for member in new if member.pair_id not in known and member.pair_id != pair_id]
        named = [_likeness(member) for member in new if member.pair_id == pair_id and member.like_pair_id]
        named += [f"{member.kind} {member.pair_id}" for member in joined if member.pair_id not in " ".join(named)]
        if named and (joined or pair_id not in known):
            return DUPLICATES, ", ".join(named[:_NAMED]) + (", ..." if len(named) > _NAMED else "")
        return RENAMED, "the cluster lost members" if len(new) < len(old) else "the same pairs under another name"

    def _noted(self, row: Mapping[str, Any], key: str, name: str) -> str | None:
        when = self.told.drift.get((row["source"], key, name))
        return f"noted by the crawl of {when}" if when else None


def _likeness(member: Any) -> str:
    far = f" ({member.distance:.3f})" if member.distance else ""
    return f"{member.kind} {member.like_pair_id}{far}"


def _raw(edits: Sequence[Any], text: str | None) -> str | None:
    """What the source said: what the first edit found, or, where nothing was edited, what stands there."""
    return edits[0].before if edits else text


def _ruled(old: Sequence[Any], new: Sequence[Any]) -> Reason:
    """Why a text differs of which the source said the same: by a person, by the rules, or for no known reason."""
    if rules := _rules_between(old, new):
        written = [rule for rule in rules if rule == REVIEWED]
        return REVIEWED if written else RULES, ", ".join(rules)
    return UNEXPLAINED, "same source, same edits; run: python cli.py verify"


def _rules_between(old: Sequence[Any], new: Sequence[Any]) -> list[str]:
    """The rules that were applied on one side only; where they are the same, those at the first difference."""
    once = {edit.rule for edit in old} ^ {edit.rule for edit in new}
    if once:
        return sorted(once)
    for a, b in zip(old, new, strict=False):
        if (a.rule, a.after) != (b.rule, b.after):
            return sorted({a.rule, b.rule})
    return sorted({edit.rule for edit in [*old[len(new) :], *new[len(old) :]]})
