"""Answers to questions about images: one form for answers that say the same, and how right an answer is."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

_ARTICLES = {"a", "an", "the"}
_NUMBERS = {
    word: str(number)
    for number, word in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    )
}
_APOSTROPHE = re.compile(r"['`´‘’＇｀]")  # noqa: RUF001 - as they stand in the sets
_NO_WORD = re.compile(r"[^\w.]+|(?<!\d)\.|\.(?!\d)|_+")
_ASIDE = re.compile(r"\s*\([^()]*\)")
_SEVERAL = re.compile(r"#(?!\d)")  # VQA-Med-2019 puts it between answers that are all right
_TYPES = {"atrib": "attrib", "prse": "pres"}  # as they are misspelt in VQA-RAD


def normalise(answer: str) -> str:
    """The form in which answers are compared: the one function that all of the project uses.

    Unicode's compatibility form, case folded; apostrophes go, other marks are spaces (points inside numbers stay);
    "a", "an" and "the" go, as in VQA (arXiv 1505.00468); numbers up to ten are written in digits. Nothing else is
    taken to be the same: "x-ray" is "x ray", but neither "xr" nor "radiograph". An answer of such words alone stays.
    """
    # before the compatibility form, which makes a space of the acute accent
    text = unicodedata.normalize("NFKC", _APOSTROPHE.sub("", answer)).casefold()
    words = [_NUMBERS.get(word, word) for word in _NO_WORD.sub(" ", text).split()]
    return " ".join([word for word in words if word not in _ARTICLES] or words)


def accepted(answer: str) -> tuple[str, ...]:
    """The normalised answers that count as right: those between #, each with and without what stands in brackets."""
    found = []
    for one in _SEVERAL.split(answer):
        found += [normalise(one), normalise(_ASIDE.sub("", one))]
    return tuple(dict.fromkeys(form for form in found if form))


def exact(answer: str, right: Sequence[str]) -> bool:
    """Whether an answer, once normalised, is one of the accepted ones."""
    return normalise(answer) in right


def token_f1(answer: str, right: Sequence[str]) -> float:
    """The harmonic mean of precision and recall of words, the best over the accepted answers (SQuAD, 1606.05250)."""
    said = Counter(normalise(answer).split())
    return max((_f1(said, Counter(one.split())) for one in right), default=0.0)


def _f1(said: Counter[str], wanted: Counter[str]) -> float:
    shared = (said & wanted).total()
    return 2 * shared / (said.total() + wanted.total()) if shared else 0.0


def kinds(question_type: str | None) -> tuple[str, ...]:
    """The types of a question in one spelling: 'POS, PRES' has two, 'OTHER' and 'Other' are one, 'ATRIB' is attrib."""
    found = [part.strip().casefold() for part in (question_type or "").split(",")]
    return tuple(dict.fromkeys(_TYPES.get(kind, kind) for kind in found if kind)) or ("none",)
