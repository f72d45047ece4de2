"""Clean a caption by an ordered table of small rules: text to text, each with its reason; nothing is ever added."""

import re
import string
from collections.abc import Callable
from dataclasses import dataclass

EMPTY = "empty"
PLACEHOLDER = "placeholder"


@dataclass(frozen=True)
class Rule:
    """One named change; `apply` gives its argument back where there is nothing to do."""

    name: str
    reason: str
    apply: Callable[[str], str]


@dataclass(frozen=True)
class Change:
    """What one rule did to one caption."""

    rule: str
    before: str
    after: str


@dataclass(frozen=True)
class Cleaned:
    """A caption after all rules; `drop_reason` is set where it says nothing."""

    text: str
    drop_reason: str | None
    edits: tuple[Change, ...]


# Controls but for whitespace (which the next rule folds), lone surrogates, soft hyphen, zero-width and bidi marks.
_MARKS = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff]"
)
_ESCAPE = re.compile(r"\\u(?:0000|d[89a-f][0-9a-f]{2})")  # as corpus_db.text.storable writes them
_ESCAPE_LENGTH = 6


def _without_escapes(text: str) -> str:
    """`text` without storable()'s escapes, also those that removing another one would form; one pass, so linear."""
    if not _ESCAPE.search(text):
        return text
    kept: list[str] = []
    for character in text:
        kept.append(character)
        if len(kept) >= _ESCAPE_LENGTH and kept[-_ESCAPE_LENGTH] == "\\":
            tail = "".join(kept[-_ESCAPE_LENGTH:])
            if _ESCAPE.fullmatch(tail):
                del kept[-_ESCAPE_LENGTH:]
    return "".join(kept)


def _unstorable(text: str) -> str:
    return _without_escapes(_MARKS.sub("", text))


def _whitespace(text: str) -> str:
    return " ".join(text.split())


RULES = (
    Rule("unstorable", "control characters and invisible marks are not text", _unstorable),
    Rule("whitespace", "line breaks and runs of spaces are layout, not words", _whitespace),
)

_NOTHING = frozenset(("n/a", "na", "n.a", "none", "n/c", "nc", "nil", "null", "not available", "no caption"))
_AROUND = string.punctuation + string.whitespace


def clean(raw: str | None) -> Cleaned:
    """`raw` after every rule, what each one changed, and why to drop it where nothing is left or was ever said."""
    text = raw or ""
    edits = []
    for rule in RULES:
        after = rule.apply(text)
        if after != text:
            edits.append(Change(rule.name, text, after))
            text = after
    return Cleaned(text, _drop_reason(text), tuple(edits))


def _drop_reason(text: str) -> str | None:
    if not text:
        return EMPTY
    said = text.strip(_AROUND).casefold()
    return PLACEHOLDER if not said or said in _NOTHING else None
