"""How the splits stand: their balance, what is seen to leak by counting, and the audit that the build wrote down."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Engine

from corpus_db import card, split
from corpus_db.report.ask import NONE, SPLITS, Ask
from corpus_db.version import VersionRow

_CHECK = re.compile(r"\| (\w+) \| (.+) \| (\d+)( \(fails\))? \|")
_APART = {  # what must not stand in two splits: the columns that tell by counting alone
    "cases": "case_id",
    "patients": "patient_key",
    "image files": "sha256",
    "duplicate clusters": "duplicate_cluster",
    "split groups": "split_group",
}


@dataclass(frozen=True)
class Check:
    """One check of the audit, as the data card keeps it."""

    name: str
    says: str
    count: int
    fatal: bool
    fails: bool


@dataclass(frozen=True)
class Splits:
    """Balance and leaks; `audit` is empty where no card tells of one."""

    balance: list[tuple[str, int, list[tuple[str, int, float, float]]]]  # group, pairs, (split, pairs, share, off)
    twice: list[tuple[str, int, int]]  # what, in two splits, of so many
    audit: list[Check]

    @property
    def broken(self) -> list[Check]:
        """The checks that count and do not hold."""
        return [check for check in self.audit if check.fails]


def splits(ask: Ask, engine: Engine) -> Splits:
    """Counted from the frozen rows; the audit is read from the data card that the build wrote."""
    return Splits(list(_balance(ask)), list(_twice(ask)), stored_audit(engine, ask.version))


def _balance(ask: Ask) -> Iterator[tuple[str, int, list[tuple[str, int, float, float]]]]:
    rows = ask.rows("SELECT modality, split, count(*) FROM version_pair WHERE version_id = :v GROUP BY modality, split")
    groups: dict[str, Counter[str]] = {"all": Counter()}
    for modality, name, count in rows:
        groups["all"][name] += count
        groups.setdefault(modality or NONE, Counter())[name] += count
    for group, found in sorted(groups.items(), key=lambda item: (item[0] != "all", -item[1].total(), item[0])):
        if total := found.total():
            off = split.deviation(("", name) for name in found.elements())[""]
            yield group, total, [(name, found[name], found[name] / total, off[name]) for name in SPLITS]


def _twice(ask: Ask) -> Iterator[tuple[str, int, int]]:
    for what, column in _APART.items():
        yield (
            what,
            *ask.one(
                f"SELECT coalesce(sum(CASE WHEN held > 1 THEN 1 ELSE 0 END), 0), count(*) FROM "
                f"(SELECT count(DISTINCT split) AS held FROM version_pair "
                f"WHERE version_id = :v AND {column} IS NOT NULL GROUP BY {column}) AS counted"
            ),
        )


def stored_audit(engine: Engine, version: VersionRow) -> list[Check]:
    """The checks of the audit in a version's data card; none where there is no card of it, or none with an audit."""
    try:
        written = card.path_of(engine.url, version.name).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    if version.manifest_sha256 not in written:  # another version's, under the same name
        return []
    section = written.partition("\n## Audit\n")[2].partition("\n## ")[0]
    proved, _, notes = section.partition("\nNotes:\n")
    return [
        Check(found[1], found[2], int(found[3]), fatal, bool(found[4]))
        for fatal, part in ((True, proved), (False, notes))
        for found in map(_CHECK.fullmatch, part.splitlines())
        if found
    ]
