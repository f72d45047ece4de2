"""What cleaning did to the captions: the rules that fired, each with captions before and after."""

from collections import defaultdict
from dataclasses import dataclass

from corpus_db import clean
from corpus_db.report.ask import Ask
from corpus_db.report.words import Part, changes

_EXAMPLES = 2  # of a rule


@dataclass(frozen=True)
class Example:
    """One caption before and after all rules."""

    pair_id: str
    rules: list[str]  # that fired on it, in order
    parts: list[Part]


@dataclass(frozen=True)
class FiredRule:
    """One rule, and some captions that it changed."""

    name: str
    why: str
    edits: int
    captions: int
    examples: list[Example]


@dataclass(frozen=True)
class Cleaning:
    """All rules that fired in a version's build, most first."""

    read: int  # captions, of kept and of dropped pairs
    changed: int
    rules: list[FiredRule]
    case_texts: list[tuple[str, int, int]]  # rule of de-identification, changes, cases


_CHOSEN = """
    WITH fired AS (
        SELECT DISTINCT rule, edit.pair_id, version_pair.sha256
        FROM edit JOIN version_pair ON version_pair.pair_id = edit.pair_id AND version_pair.version_id = :v
        WHERE edit.version_id = :v
    ), ordered AS (
        SELECT rule, pair_id, row_number() OVER (PARTITION BY rule ORDER BY sha256, pair_id) AS place FROM fired
    )
    SELECT rule, pair_id FROM ordered WHERE place <= :most ORDER BY rule, place
"""
_STEPS = """
    WITH chosen AS ({chosen})
    SELECT edit.pair_id, edit.rule, edit.before, edit.after FROM edit
    WHERE edit.version_id = :v AND edit.pair_id IN (SELECT pair_id FROM chosen) ORDER BY edit.pair_id, edit.step
"""


def cleaning(ask: Ask, raw: bool) -> Cleaning:
    """What the build of a version changed; `raw`: with the captions as they came, which must not be published."""
    (read,) = ask.one(
        "SELECT (SELECT count(*) FROM version_pair WHERE version_id = :v) + "
        "(SELECT count(*) FROM version_drop WHERE version_id = :v)"
    )
    (changed,) = ask.one("SELECT count(DISTINCT pair_id) FROM edit WHERE version_id = :v")
    fired = ask.rows(
        "SELECT rule, count(*), count(DISTINCT pair_id) FROM edit WHERE version_id = :v "
        "GROUP BY rule ORDER BY count(*) DESC, rule"
    )
    case_texts = ask.rows(
        "SELECT rule, count(*), count(DISTINCT study_case_id) FROM case_edit WHERE version_id = :v "
        "GROUP BY rule ORDER BY count(*) DESC, rule"
    )
    why = {rule.name: rule.reason for rule in clean.RULES} | {"reviewed": "a person wrote it so"}
    shown = _examples(ask) if raw else {}
    rules = [FiredRule(name, why.get(name, ""), edits, pairs, shown.get(name, [])) for name, edits, pairs in fired]
    return Cleaning(read, changed, rules, [tuple(row) for row in case_texts])


def _examples(ask: Ask) -> dict[str, list[Example]]:
    steps: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for pair_id, *step in ask.rows(_STEPS.format(chosen=_CHOSEN), most=_EXAMPLES):
        steps[pair_id].append(tuple(step))
    found = defaultdict(list)
    for rule, pair_id in ask.rows(_CHOSEN, most=_EXAMPLES):
        told = steps[pair_id]
        names = list(dict.fromkeys(name for name, _, _ in told))
        found[rule].append(Example(pair_id, names, changes(told[0][1], told[-1][2])))
    return found
