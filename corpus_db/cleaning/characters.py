"""Rules of single characters: invisible marks, HTML, Unicode forms, backslashes."""

import html
import re
import unicodedata

from corpus_db.cleaning.rule import Rule

# Controls but for whitespace (which is folded later), lone surrogates, soft hyphen, zero-width and bidi marks.
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
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return _without_escapes(_MARKS.sub("", text))


_BLOCK = re.compile(r"</?(?:p|br|div|li|ul|ol|tr|table|h[1-6])(?:\s[^<>]*)?/?>", re.I)
_INLINE = re.compile(
    r"</?(?:b|i|u|em|strong|span|a|font|sup|sub|small|big|td|th|tbody|img|hr|center|html|body|s|label|xref|italic|bold)"
    r"(?:\s[^<>]*)?/?>",
    re.I,
)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,30});", re.I)


def _html(text: str) -> str:
    if "<" in text and ">" in text:
        text = _INLINE.sub("", _BLOCK.sub("\n", text))
    return _ENTITY.sub(lambda found: html.unescape(found[0]), text) if "&" in text and ";" in text else text


_PLAIN = str.maketrans(
    dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb", '"')
    | dict.fromkeys("\u2018\u2019\u201a\u201b\u00b4", "'")
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-")
)
_LONG, _MOST_MARKS = 1000, 30  # Unicode's stream-safe text holds no more marks on one letter (UAX 15)


def _safe_to_compose(text: str) -> str:
    """`text` with at most so many combining marks in a row: composing sorts them, which is quadratic in their run."""
    kept, run = [], 0
    for character in text:
        run = run + 1 if unicodedata.combining(character) else 0
        if run <= _MOST_MARKS:
            kept.append(character)
    return "".join(kept)


def _unicode(text: str) -> str:
    if text.isascii():
        return text
    if len(text) > _LONG:
        text = _safe_to_compose(text)
    return unicodedata.normalize("NFC", text).translate(_PLAIN)


_BREAK = re.compile(r"\\[nrt](?![a-z])")
_BACKSLASH = re.compile(r"\\(?!\w)|(?<!\w)\\")


def _backslash(text: str) -> str:
    return _BACKSLASH.sub("", _BREAK.sub("\n", text)) if "\\" in text else text


_SPACED = re.compile(r"(?<! ) +(?:,|\.(?!\d|\.))")


def _space_before(text: str) -> str:
    if ("," in text and " ," in text) or " ." in text:
        return _SPACED.sub(lambda found: found[0][-1], text)
    return text


_GLUED = re.compile(
    r"""(?<=[a-z0-9)\]"%])(?<!\be\.g)(?<!\bi\.e)(?<!\bvs)(?<!\bDr)(?<!\bSt)(?<!\bMr)(?<!\bcf)(\.|!|(?<=[a-z]{2})\?)(?=[A-Z](?:[a-z]|\s|\d|[A-Z]{1,4}[\s:,=]))"""
    r"|(?<=[A-Z]{3})(\.)(?=[A-Z]{2})"
)


_TOUCHING, _ASKED = re.compile(r"\.[A-Z]"), re.compile(r"[?!][A-Z]")


def _glued(text: str) -> str:
    if _TOUCHING.search(text) or (("?" in text or "!" in text) and _ASKED.search(text)):
        return _GLUED.sub(lambda found: f"{found[0]} ", text)
    return text


def whitespace(text: str) -> str:
    """`text` with each run of whitespace as one space, none at its ends."""
    if text.isprintable() and "  " not in text and text[:1] != " " != text[-1:]:
        return text
    return " ".join(text.split())


UNSTORABLE = Rule("unstorable", "control characters and invisible marks are not text", "le\u200bsion", _unstorable)
HTML = Rule("html", "tags are layout, entities are characters", "<p>mass &lt; 3 cm</p>", _html)
UNICODE = Rule("unicode", "one form (NFC) and plain quotes and dashes", "\u201cbat\u201d sign", _unicode)
BACKSLASH = Rule("backslash", "backslashes of an escaping gone wrong", 'a \\"faceless\\" kidney', _backslash)
WHITESPACE = Rule("whitespace", "line breaks and runs of spaces are layout, not words", "CT  of the\thead", whitespace)
SPACE_BEFORE = Rule("space_before", "no space stands before a comma or a full stop", "a mass , left", _space_before)
GLUED = Rule("glued_sentence", "sentences are parted by a space", "A mass.The liver is normal.", _glued)
