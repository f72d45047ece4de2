"""Where the sentences of a text end, abbreviations and initials minded."""

import re
from collections.abc import Callable
from functools import lru_cache

from corpus_db.cleaning.rule import Span, listed, removed

_STOP = re.compile(r"""[.!?\n](?:(?<=\n)|["')\]]{0,3}(?:[ \t]+(?=[A-Z0-9"'(\[*?#-])|[ \t]*(?=\n)|$))""")
_BEFORE = re.compile(r"([\w.]{1,12})$")
_SHORT = listed(
    "dr drs prof mr mrs ms st fig figs vs approx al e.g i.e ca no ref inc ltd jr sr cf rt lt resp vol "
    "pp dept univ hosp "
    "ave med m.d ph.d u.s incl max min"
)
_OPENS = re.compile(
    r"\s*(?:The|This|These|There|That|A|An|In|It|No|Note|On|At|Axial|Coronal|Sagittal|CT|MR|MRI|Arrows?)\b"
)


def _ends(text: str, stop: re.Match[str]) -> bool:
    """Whether a stop is the end of a sentence and not of an abbreviation or an initial."""
    if text[stop.start()] != ".":
        return True
    word = _BEFORE.search(text, max(0, stop.start() - 12), stop.start())
    if not word or stop.end() == len(text):
        return True
    if word[1].lower() in _SHORT:
        return False
    initial = len(word[1]) == 1 and word[1].isupper()
    return not initial or bool(_OPENS.match(text, stop.end()))


@lru_cache(maxsize=4)
def spans(text: str) -> tuple[Span, ...]:
    """The sentences of `text`, each with the space behind it; together they are the whole text."""
    if text.find(".") == len(text) - 1 and not ("\n" in text or "?" in text or "!" in text):
        return ((0, len(text)),) if text else ()  # as most captions
    found, start = [], 0
    for stop in _STOP.finditer(text):
        if _ends(text, stop):
            found.append((start, stop.end()))
            start = stop.end()
    if start < len(text):
        found.append((start, len(text)))
    return tuple(found)


def without_sentences(text: str, gone: Callable[[str], object], *, spare_last: bool = False) -> str:
    """`text` without the sentences for which `gone` holds; all of it where none would be left and `spare_last`."""
    found = spans(text)
    going = [span for span in found if gone(text[slice(*span)].strip())]
    if not going or (spare_last and len(going) == len(found)):
        return text
    return removed(text, going).rstrip(" ")
