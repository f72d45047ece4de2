"""What a cleaning rule is, and the two or three moves that most rules share."""

import re
import string
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

Span = tuple[int, int]


@dataclass(frozen=True)
class Rule:
    """One named change of a text.

    `apply` is pure and linear in length, raises on no string, and gives its argument back where there is nothing to
    do; `example` is a text that it changes.
    """

    name: str
    reason: str
    example: str
    apply: Callable[[str], str]


@dataclass(frozen=True)
class Change:
    """What one rule did to one text."""

    rule: str
    before: str
    after: str


def listed(words: str) -> frozenset[str]:
    """The words of a list that is written as one text."""
    return frozenset(words.split())


@lru_cache(maxsize=4)
def lower(text: str) -> str:
    """`text` in lower case; the rules that follow one another ask for the same text."""
    return text.lower()


@lru_cache(maxsize=4)
def has_digit(text: str) -> bool:
    """Whether `text` holds a digit, of any script: most captions hold none, and are spared every pattern of numbers."""
    return any(map(text.__contains__, string.digits)) or (not text.isascii() and bool(_DIGIT.search(text)))


_DIGIT = re.compile(r"\d")
_APART = str.maketrans({character: " " for character in map(chr, range(128)) if not character.isalpha()})


@lru_cache(maxsize=4)
def words_of(text: str) -> frozenset[str]:
    """The words of `text` in lower case: one set that many rules ask whether to look closer."""
    return frozenset(lower(text).translate(_APART).split())


def has(text: str, *words: str) -> bool:
    """Whether one of the lower-case `words` stands in `text` in any case: a cheap test before a costly pattern."""
    small = lower(text)
    return any(map(small.__contains__, words))


# what of a pattern is no letter to match, and the letters
_PARTS = re.compile(r"\\(?:u[0-9a-fA-F]{4}|.)|\(\?P<\w+>|[A-Z]", re.S)


class Caseless:
    """A pattern that minds no case. ASCII text is searched in lower case, some times as fast as `re.IGNORECASE`, and
    so what is found in it may be: use the places of a match, not its letters."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._small = re.compile(_PARTS.sub(lambda part: part[0] if part[0][1:] else part[0].lower(), pattern))

    @cached_property
    def _any(self) -> re.Pattern[str]:
        return re.compile(self.pattern, re.I)

    def on(self, text: str) -> tuple[re.Pattern[str], str]:
        """The pattern for `text`, and the form of it, of the same length, to search with it."""
        return (self._small, text.lower()) if text.isascii() else (self._any, text)

    def match(self, text: str, start: int = 0) -> re.Match[str] | None:
        pattern, small = self.on(text)
        return pattern.match(small, start)

    def search(self, text: str) -> re.Match[str] | None:
        pattern, small = self.on(text)
        return pattern.search(small)

    def finditer(self, text: str) -> Iterator[re.Match[str]]:
        pattern, small = self.on(text)
        return pattern.finditer(small)


_OPENING = re.compile(r"""[\s"'(\[]*(?P<word>[^\W\d_][\w/-]*)""")


def capitalised(text: str) -> str:
    """`text` with its first word's first letter in upper case, unless the word has capitals of its own (as mRNA)."""
    found = _OPENING.match(text)
    if not found or not found["word"].islower():
        return text
    at = found.start("word")
    return text[:at] + text[at].upper() + text[at + 1 :]


def removed(text: str, spans: Iterable[Span]) -> str:
    """`text` without the spans (in order, apart); a word that comes to open a sentence by it is capitalised."""
    kept: list[str] = []
    opens, at = True, 0
    cut = False
    for start, end in (*spans, (len(text), len(text))):
        piece = text[at:start]
        if cut and opens:
            piece = piece.lstrip(" ,;:")
            piece = piece[1:].lstrip(" ") if kept[-1:] and re.match(r"\.(?!\d)", piece) else piece
            piece = capitalised(piece)
            if piece and kept and kept[-1][-1:].strip():
                piece = " " + piece
        elif cut and kept and kept[-1].endswith((" ", "\n")):
            piece = piece.lstrip(" ")
        if piece.strip():
            opens = piece.rstrip().endswith((".", "!", "?", "\n")) or piece.endswith("\n")
        kept.append(piece)
        cut, at = True, end
    return "".join(kept)


def without(pattern: re.Pattern[str] | Caseless, text: str) -> str:
    """`text` without what `pattern` matches."""
    spans = [found.span() for found in pattern.finditer(text)]
    return removed(text, spans) if spans else text
