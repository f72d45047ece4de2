"""What persons decided about pairs: rows that are never changed, of which the newest of a kind is obeyed by a build."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, insert, select

from corpus_db.clean import Change, Cleaned
from corpus_db.cleaning import drops
from corpus_db.deidentify import deidentify
from corpus_db.errors import UserError
from corpus_db.gather import table
from corpus_db.labels import NOTHING, PERSON
from corpus_db.modality import CODES, NOT_ASSIGNED, NOT_RADIOLOGY, PLANES, UNKNOWN
from corpus_db.models import now
from corpus_db.regions import REGIONS
from corpus_db.sql_output import shown
from corpus_db.text import storable
from corpus_db.votes import Vote

KEEP, DROP, RELABEL, EDIT, WITHDRAW = "keep", "drop", "relabel", "edit", "withdraw"
REVIEWED = "reviewed"  # the drop reason of a pair that a person dropped, and the rule of a caption that one wrote
# What judges a caption or a modality: a person may judge otherwise. The other reasons are facts of the whole corpus.
UNDONE = frozenset(
    (
        *(drops.TEMPLATE, drops.PLACEHOLDER, drops.EMPTY, drops.CROSS_REFERENCE_ONLY, drops.HISTORY_ONLY),
        *(NOT_RADIOLOGY, NOT_ASSIGNED, UNKNOWN, REVIEWED),
    )
)
VALUES: dict[str, tuple[str, ...]] = {  # what each field may be given; NOTHING empties it
    "modality": CODES,
    "plane": (*PLANES, NOTHING),
    "region": (*REGIONS, NOTHING),
    "laterality": ("left", "right", "bilateral", NOTHING),
}
OBEYED, WAITS = "obeyed", "waits for the next build"
_STAY, _CAPTION = "stay", "caption"
_LONGEST = {"by": 100, "why": 1000, "edit": 10_000}  # characters
_NO_CAPTION = "it has no caption; write one with an edit"
Row = Mapping[Any, Any]


@dataclass(frozen=True)
class Decision:
    """One thing that a person wants done to a pair; `field` and `value` as in the table."""

    decision: str
    field: str | None = None
    value: str | None = None


@dataclass(frozen=True)
class Review:
    """The verdicts on one pair that count, by what they decide: stay, caption, or a label's field."""

    rows: Mapping[str, Row] = field(default_factory=dict)

    @property
    def labels(self) -> dict[str, Vote]:
        """The votes of a person, by field."""
        return {
            row["field"]: Vote(row["field"], row["value"], PERSON, f"review of {str(row['at'])[:10]}", 1.0)
            for row in self.rows.values()
            if row["decision"] == RELABEL
        }

    def rewritten(self, cleaned: Cleaned) -> Cleaned:
        """The caption that a person wrote in place of the cleaned one, without what identifies; else the same."""
        if _CAPTION not in self.rows:
            return cleaned
        written = self.rows[_CAPTION]["value"]
        edits = [*cleaned.edits, *([Change(REVIEWED, cleaned.text, written)] if written != cleaned.text else ())]
        told = deidentify(written)
        return Cleaned(told.text, drops.reason_of(written, told.text, told.edits), (*edits, *told.edits))

    def drop_reason(self, judged: str | None, caption: str) -> str | None:
        """The drop reason that stands, where rules judged otherwise or the same; a pair without words cannot stay."""
        stay = self.rows[_STAY]["decision"] if _STAY in self.rows else None
        if stay == DROP:
            return REVIEWED
        return None if stay == KEEP and _says_something(caption) else judged


NO_REVIEW = Review()


def load(connection: Connection) -> dict[str, Review]:
    """The verdicts that count, by pair id, for all pairs that have any."""
    verdict = table("verdict")
    by_pair: dict[str, list[Row]] = {}
    for row in connection.execute(select(verdict).order_by(verdict.c.pair_id, verdict.c.id)).mappings():
        by_pair.setdefault(row["pair_id"], []).append(dict(row))
    found = {pair_id: Review(counting(rows)) for pair_id, rows in by_pair.items()}
    return {pair_id: review for pair_id, review in found.items() if review.rows}


def counting(rows: Iterable[Row]) -> dict[str, Row]:
    """Of one pair's verdicts, oldest first, the newest of each kind since the last that withdrew all."""
    found: dict[str, Row] = {}
    for row in rows:
        if row["decision"] == WITHDRAW:
            found.clear()
        elif row["decision"] == RELABEL:
            found[row["field"]] = row
        else:
            found[_CAPTION if row["decision"] == EDIT else _STAY] = row
    return found


def outcome(row: Row, pair: Row, votes: Iterable[Row]) -> str:
    """What a build made of a verdict that counts: OBEYED, WAITS, or why it cannot be obeyed.

    `pair` and `votes`: the pair as the build left it (status, drop_reason, caption), and its rows of `label`.
    """
    reason = pair["drop_reason"]
    if row["decision"] == RELABEL:
        wanted = (PERSON, row["field"], row["value"])
        done = wanted in {(vote["voter"], vote["field"], vote["value"]) for vote in votes}
    elif row["decision"] == EDIT:
        done = pair["caption"] == deidentify(row["value"]).text
    elif row["decision"] == DROP:
        done = reason == REVIEWED
        if reason and reason not in UNDONE:
            return f"left out in any case: {reason}"
    else:
        done = pair["status"] == "kept"
        if not done and (trouble := _cannot_stay(pair)):
            return trouble
    return OBEYED if done else WAITS


def record(
    connection: Connection, pair_id: str, decisions: Sequence[Decision], by: str, why: str | None = None
) -> list[str]:
    """Write a person's decisions on a pair of the last build; gives notes on what follows from them.

    All or none: raises UserError for a pair that is gone, a label that does not exist, and what cannot be obeyed.
    """
    by, why = _short("by", by), _short("why", why or "") or None
    if not by:
        raise UserError("say who decides (--by): it stays for the record")
    pairs = table("pair")
    pair = connection.execute(select(pairs).where(pairs.c.id == pair_id)).mappings().first()
    if pair is None:
        raise UserError(_not_there(connection, pair_id))
    wanted = [_checked(decision) for decision in decisions]
    standing = load(connection).get(pair_id, NO_REVIEW)
    edited = _CAPTION in standing.rows or any(decision.decision == EDIT for decision in wanted)
    for decision in wanted:
        if decision.decision == KEEP and pair["status"] != "kept" and (trouble := _cannot_stay(pair, edited)):
            raise UserError(f"{shown(pair_id)}: cannot be kept: {trouble}")
    told = {"pair_id": pair_id, "by": by, "at": now(), "why": why}
    connection.execute(insert(table("verdict")), [{**told, **vars(decision)} for decision in wanted])
    return list(_notes(connection, pair, wanted))


def _cannot_stay(pair: Row, edited: bool = False) -> str | None:
    """Why a dropped pair would stay dropped whatever a person says."""
    if pair["drop_reason"] not in UNDONE:
        detail = f" ({shown(pair['drop_detail'])})" if pair["drop_detail"] else ""
        return f"{pair['drop_reason']}{detail}, which no review undoes"
    return None if edited or _says_something(pair["caption"]) else _NO_CAPTION


def _says_something(caption: str | None) -> bool:
    return any(map(str.isalnum, caption or ""))


def _checked(decision: Decision) -> Decision:
    """The decision with its text as it is kept; raises UserError for one that says nothing or nothing known."""
    if decision.decision == EDIT:
        value = _short("edit", decision.value or "")
        if not _says_something(value):
            raise UserError("an edit is the caption to be: give it a word at least, or drop the pair")
        return Decision(EDIT, None, value)
    if decision.decision == RELABEL:
        if decision.field not in VALUES:
            raise UserError(f"{shown(decision.field or '')}: no label to give; there are {', '.join(VALUES)}")
        value = re.sub("[ _]+", " ", decision.value or "").strip().casefold()
        known = {name.casefold().replace("_", " "): name for name in VALUES[decision.field]}
        if value not in known:
            told = ", ".join(VALUES[decision.field])
            raise UserError(f"{shown(decision.value or '')}: no {decision.field}; give one of {told}")
        return Decision(RELABEL, decision.field, known[value])
    return Decision(decision.decision)


def _short(name: str, text: str) -> str:
    """A text on one line, as both engines hold it; raises UserError for one that is too long."""
    text = " ".join(storable(text).split())
    if len(text) > _LONGEST[name]:
        raise UserError(f"{name}: {len(text)} characters; at most {_LONGEST[name]} are kept")
    return text


def _not_there(connection: Connection, pair_id: str) -> str:
    gone = table("tombstone")
    if connection.execute(select(gone.c.pair_id).where(gone.c.pair_id == pair_id)).first():
        return f"{shown(pair_id)}: taken down for good; there is nothing to review"
    return f"{shown(pair_id)}: the last build did not find it, so no verdict can be obeyed; see: python cli.py explain"


def _notes(connection: Connection, pair: Row, decisions: Sequence[Decision]) -> Iterable[str]:
    pairs = table("pair")
    if any(decision.decision == DROP for decision in decisions):
        copies = (pairs.c.drop_reason == "duplicate") & (pairs.c.drop_detail == pair["id"])
        for id_ in connection.execute(select(pairs.c.id).where(copies).order_by(pairs.c.id)).scalars():
            yield f"{id_} was left out as its duplicate and will take its place, unless it is dropped, too"
    for decision in decisions:
        if decision.decision == EDIT and decision.value != (told := deidentify(decision.value or "").text):
            yield f"what may identify a person is taken out of the caption: {told}"
