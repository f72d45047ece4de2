"""Find known phrases in a text: the longest at each word, in time linear in its length."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

# A word, or a mark that ends a sentence or clause; a dot inside a number or an abbreviation is neither.
_TOKEN = re.compile(r"[^\W_]+|[.;!?](?=\s|$)|[:,/()]")
MARKS = frozenset(".;!?:,/()")
Says = tuple[tuple[str, str], ...]  # (field, value)


class Hit(NamedTuple):
    """A phrase in a text: what it says, and its words' first and past-the-last index."""

    says: Says
    first: int
    last: int


class Words:
    """A text's words and marks, in three parallel lists: as written, as compared, and (start, end) in the text."""

    def __init__(self, text: str) -> None:
        self.text = text
        found = [*_TOKEN.finditer(text)]
        self.written = [match[0] for match in found]
        self.forms = [form(word) for word in self.written]
        self.spans = [match.span() for match in found]

    def before(self, at: int, count: int, marks: frozenset[str] = MARKS) -> list[str]:
        """The forms of the last `count` words before a place, nearest first, up to a mark."""
        return _until(marks, self.forms[max(0, at - count) : at][::-1])

    def after(self, at: int, count: int, marks: frozenset[str] = MARKS) -> list[str]:
        """The forms of the next `count` words from a place on, up to a mark."""
        return _until(marks, self.forms[at : at + count])

    def shown(self, first: int, last: int) -> str:
        """The words from `first` up to `last` as the text writes them, on one line."""
        return " ".join(self.text[self.spans[first][0] : self.spans[last - 1][1]].split())


def _until(marks: frozenset[str], forms: list[str]) -> list[str]:
    for at, word in enumerate(forms):
        if word in marks:
            return forms[:at]
    return forms


def form(word: str) -> str:
    """Lower case, and without a plural s: equal for "Kidneys" and "kidney"."""
    word = word.lower()
    return word[:-1] if word[-1:] == "s" and len(word) > 3 and word[-2] not in "sui" else word


class Phrases:
    """A list of phrases and what each one says; a phrase that says nothing hides the shorter ones within it."""

    def __init__(self, said: Iterable[tuple[str, str]]) -> None:
        """`said`: ("modality=CT region=chest", "phrase; another phrase") rows, a ~ in a value standing for a space.

        A word in capitals must stand so in the text ("US"). A phrase in several rows says what all of them say.
        """
        merged: dict[tuple[str, ...], dict[str, str]] = {}
        for says, phrases in said:
            pairs = dict(item.replace("~", " ").partition("=")[::2] for item in says.split())
            for phrase in filter(str.strip, phrases.split(";")):
                merged.setdefault(tuple(phrase.split()), {}).update(pairs)
        self._root: dict[str, Any] = {}
        for words, pairs in merged.items():
            node = self._root
            for word in map(form, words):
                node = node.setdefault(word, {})
            capitals = tuple((at, word) for at, word in enumerate(words) if word.isupper() and word.isalpha())
            node.setdefault("", []).append((capitals, tuple(pairs.items())))  # no word is empty

    def find(self, words: Words) -> Iterator[Hit]:
        """The phrases in a text from left to right; none overlaps another."""
        root, forms = self._root, words.forms
        end = 0
        for at, word in enumerate(forms):
            if at < end or word not in root:
                continue
            hit = self._longest(words, at)
            if hit is not None:
                end = hit.last
                if hit.says:
                    yield hit

    def _longest(self, words: Words, at: int) -> Hit | None:
        node, last, found = self._root, at, None
        while last < len(words.forms) and words.forms[last] in node:
            node = node[words.forms[last]]
            last += 1
            for capitals, says in node.get("", ()):
                if _in_capitals(words.written, at, capitals):
                    found = Hit(says, at, last)
        return found


def _in_capitals(written: Sequence[str], at: int, capitals: Sequence[tuple[int, str]]) -> bool:
    return all(written[at + n].rstrip("s") == word.rstrip("s") for n, word in capitals)
