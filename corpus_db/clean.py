"""Clean a caption by an ordered table of small rules: text to text, each with its reason and an example."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus_db import deidentify
from corpus_db.cleaning import (
    characters,
    finish,
    keys,
    labels,
    lists,
    narrative,
    pointers,
    references,
    sides,
    sources,
)
from corpus_db.cleaning.drops import PLACEHOLDER, reason_of
from corpus_db.cleaning.rule import Change, Rule
from corpus_db.errors import UserError
from corpus_db.files import written

__all__ = ["RULES", "Change", "Cleaned", "Rule", "clean", "clean_file", "rules_table"]


@dataclass(frozen=True)
class Cleaned:
    """A caption after all rules; `drop_reason` is set where it says nothing of its image."""

    text: str
    drop_reason: str | None
    edits: tuple[Change, ...]


# Lines before spaces are folded, sources before what their dots and brackets would confuse, references before labels
# (a sentence that refers may open with what reads as a label), keys before single marks, sides when no key is left.
RULES: tuple[Rule, ...] = (
    characters.UNSTORABLE,
    characters.HTML,
    characters.UNICODE,
    characters.BACKSLASH,
    sides.CAPITALS,
    lists.LIST_LINES,
    characters.WHITESPACE,
    finish.FINAL_STOP,
    characters.SPACE_BEFORE,
    sources.URL,
    characters.GLUED,
    sources.CREDIT,
    sources.CITATION,
    sources.SEQUENCE,
    *deidentify.RULES,
    lists.LIST_INLINE,
    lists.LIST_LEADING,
    labels.OF_MANY,
    references.CROSS_REFERENCE,
    labels.FIGURE_LABEL,
    references.FOLLOW_UP,
    keys.LEGEND_KEY,
    labels.PANEL_LABEL,
    pointers.POINTER,
    pointers.ASTERISK,
    sides.SIDE,
    keys.MARK,
    narrative.QUIZ,
    narrative.HISTORY,
    finish.PUNCTUATION,
)
_SIMPLE = frozenset((characters.WHITESPACE.name, finish.FINAL_STOP.name))  # nothing follows from these: no second pass
_PASSES = 8  # a rule may uncover work for an earlier one; real captions settle in three


def clean(raw: str | None) -> Cleaned:
    """`raw` after every rule, what each one changed, and why to drop it where it says nothing of its image.

    The rules run until none changes anything, so that a kept caption cleans to itself. What has not settled after
    some passes is no caption (nested marks by the dozen) and is dropped as a placeholder.
    """
    text = raw or ""
    edits: list[Change] = []
    unchanged = 0  # how many rules in a row left this text alone
    for _ in range(_PASSES):
        for rule in RULES:
            after = rule.apply(text)
            if after != text:
                edits.append(Change(rule.name, text, after))
                text, unchanged = after, 0
            elif (unchanged := unchanged + 1) == len(RULES):
                break
        if unchanged == len(RULES) or _SIMPLE.issuperset([edit.rule for edit in edits]):
            return Cleaned(text, reason_of(raw or "", text, edits), tuple(edits))
    return Cleaned(text, PLACEHOLDER, tuple(edits))


def rules_table() -> str:
    """The rules as a Markdown table: name, reason, example and what becomes of it."""
    rows = ["| rule | reason | example | becomes |", "| --- | --- | --- | --- |"]
    for rule in RULES:
        shown = [f"`{_shown(text)}`" if text else "" for text in (rule.example, rule.apply(rule.example))]
        rows.append(f"| `{rule.name}` | {rule.reason} | {shown[0]} | {shown[1]} |")
    return "\n".join(rows)


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text).replace("|", "\\|")


def _records(source: Path) -> Iterator[tuple[str, str | None]]:
    with source.open(encoding="utf-8-sig", errors="surrogateescape") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                record: Any = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise UserError(f"{source}, line {number}: not JSON ({error}): give one object a line") from None
            if not isinstance(record, dict) or "id" not in record or "raw" not in record:
                raise UserError(
                    f'{source}, line {number}: give an object with "id" and "raw", as {{"id": "1", "raw": "..."}}'
                )
            if not (record["raw"] is None or isinstance(record["raw"], str)):
                raise UserError(
                    f'{source}, line {number}: "raw" is {type(record["raw"]).__name__}: give a string or null'
                )
            yield record["id"], record["raw"]


def _line(key: object, found: Cleaned) -> str:
    return json.dumps(
        {
            "id": key,
            "clean": None if found.drop_reason else found.text,
            "drop_reason": found.drop_reason,
            "edits": [{"rule": edit.rule, "before": edit.before, "after": edit.after} for edit in found.edits],
        }
    )


def clean_file(source: Path, target: Path) -> Counter[str]:
    """Clean each {"id", "raw"} line of `source` into {"id", "clean", "drop_reason", "edits"} lines of `target`.

    Streamed; `target` appears whole or not at all. Returns counts: captions, kept, dropped, `dropped:REASON` and
    `edit:RULE`. Raises UserError for a line that is no such record, naming it, and where a file cannot be used.
    """
    counts: Counter[str] = Counter()
    try:
        with written(target) as out:
            for key, raw in _records(source):
                found = clean(raw)
                out.write((_line(key, found) + "\n").encode())
                counts["captions"] += 1
                counts["dropped" if found.drop_reason else "kept"] += 1
                if found.drop_reason:
                    counts[f"dropped:{found.drop_reason}"] += 1
                counts.update(f"edit:{edit.rule}" for edit in found.edits)
    except OSError as error:
        raise UserError(f"{error.filename or source}: {error.strerror}: check both paths") from error
    return counts
