"""Rules that mend what removals left: punctuation, and the final full stop."""

import re

from corpus_db.cleaning.rule import Rule, removed

_HOLLOW = re.compile(r" ?\((?:[ ,;:./&-]|and\b){0,12}\)| ?\[(?:[ ,;:./&-]){0,12}\]")
_HOLLOW_AT = re.compile(r"[(\[](?:[ ,;:./&)\]-]|and\b)")
_SPACED = re.compile(r"(?<! ) +(?=[,;)\]])|(?<! ) +\.(?=$| )|(?<=\() +")
_DOUBLED = re.compile(
    r"[,;] ?(?=[.;])|(?<=[,;])(?: ?,)+|(?<=: )[,;.] |(?<=[a-z0-9)\]]\.) ?\.(?=$| [A-Z])|(?<=\() ?[,;:] ?"
)
_OPENING = re.compile(r"^[ ,;:.)\]!?-]+(?=[A-Za-z\"'(\[])|^\. ")


def _is_spaced(text: str) -> bool:
    """Whether a space stands on the wrong side of a mark; the mark alone is looked for first, which is faster."""
    return (
        " ." in text
        or ("," in text and " ," in text)
        or (";" in text and " ;" in text)
        or ("(" in text and "( " in text)
        or (")" in text and " )" in text)
        or ("]" in text and " ]" in text)
    )


def _is_doubled(text: str) -> bool:
    """Whether two marks may stand where one does."""
    return (
        ".." in text
        or ("," in text and (",." in text or ",," in text or ", ." in text or ", ," in text or "(," in text))
        or (";" in text and (";." in text or ",;" in text))
    )


def _punctuation(text: str) -> str:
    if ("(" in text or "[" in text) and _HOLLOW_AT.search(text):
        text = _HOLLOW.sub("", text)
    if _is_spaced(text):
        text = _SPACED.sub(lambda found: "." if "." in found[0] else "", text)
    if _is_doubled(text):
        text = _DOUBLED.sub("", text)
    opening = _OPENING.match(text)
    if opening and not text.startswith(". . ."):
        text = removed(text, [opening.span()])
    return " ".join(text.split()) if "  " in text or text[:1] == " " or text[-1:] == " " else text


_LOOSE = re.compile(r"(?<=[\w)\]\"'%.!?])[ ]?[,;:&/-]$")
_CLOSED = (".", "!", "?")


def _final_stop(text: str) -> str:
    if not text or text.endswith(_CLOSED):
        return text
    if text[-1] in ",;:-&/":
        text = _LOOSE.sub("", text)
    last = text[-1:]
    if last in "\"')]" and text[-2:-1] in _CLOSED and last != ")":
        return text
    return text if text.endswith(_CLOSED) or not any(map(str.isalnum, text[-8:])) else text + "."


PUNCTUATION = Rule("punctuation", "brackets and commas left empty by what went", "A cyst ( ), left", _punctuation)
FINAL_STOP = Rule("final_stop", "a caption ends with a full stop", "Internal hernia", _final_stop)
