"""Rules of lines: list markers go, a line that ends a sentence gets its full stop, the others are joined."""

import re

from corpus_db.cleaning.rule import Rule, capitalised

_BULLET = r"[\u2022\u2023\u25cf\u25aa\u25e6\u00b7\u25a0\u25ba\u27a2\uf0b7][\s]*|[-*>+o](?=\s)\s*|[-*](?=[A-Za-z])|\*\s"
_NUMBER = r"\(?\d{1,2}[.)](?:\d{1,2}(?=\s))?(?=\s|[A-Za-z])\s*|\(?[a-hA-H]\)\s+|[ivx]{1,4}\)\s+|[\u2460-\u2473]\s*"
_MARKER = re.compile(rf"\s*(?:{_BULLET}|{_NUMBER})")
_LEADING = re.compile(
    r"\s*(?:[\u2022\u2023\u25cf\u25aa\u25e6\u00b7\u25a0\uf0b7]|-(?=\s?[A-Za-z])|\d{1,2}[.)]\s|"
    r"\(\d{1,2}\)\s|\d{1,2}\)(?=[A-Z]))\s*"
)
_WAITS = re.compile(
    r"(?:^|\s|-)(?:a|an|the|of|and|or|with|without|in|on|at|to|for|from|by|is|are|was|were|as|than|that|which|into|"
    r"within|between|through|versus|vs\.?|shows?|showing|demonstrates?|demonstrating|reveals?|revealing|no|left|right|"
    r"bilateral|axial|coronal|sagittal|lateral|medial|weighted|computed|magnetic|saturated|its|this|"
    r"these|FLAIR|STIR|T[12])$",
    re.I,
)
_ENDED = (".", "!", "?", ":")


def _ended(line: str, following: str, item: bool, item_after: bool, apart: bool) -> str:
    """A line, with a full stop where a sentence ends with it: at a list item, a gap, or before a capital."""
    if line.endswith(_ENDED) or line.endswith(('."', ".'", ".)", "?)")):
        return line
    runs_on = following[:1].islower() and not item_after
    if item and not (runs_on and not apart):
        return line.rstrip(",; ") + "."
    if line.endswith((",", ";", "-", "(", "/")):
        return line
    opens = following[:1].isupper() or following[:1].isdigit() or following[:1] in "(\"'"
    if (apart and not following[:1].islower()) or (opens and not _WAITS.search(line[-16:])):
        return line + "."
    return line


def _lines(text: str) -> str:
    """One line of all lines."""
    if not ("\n" in text or "\r" in text or "\t" in text or "\u2028" in text or "\v" in text or "\f" in text):
        return text
    rows: list[tuple[str, bool, bool]] = []  # a line, whether it is a list item, whether a gap is before it
    gap = False
    for line in text.splitlines():
        line = line.strip()
        if not line:
            gap = bool(rows)
            continue
        marker = _MARKER.match(line)
        if marker and marker.end() < len(line):
            rows.append((capitalised(line[marker.end() :]), True, gap))
        else:
            rows.append((line, False, gap))
        gap = False
    if not any(item for _, item, _ in rows) and len(rows) < 2:
        return " ".join(row[0] for row in rows)
    joined = [
        _ended(line, after, item or (after_item and line[-1] not in ",;"), after_item, apart)
        for (line, item, _), (after, after_item, apart) in zip(rows, [*rows[1:], ("", False, False)], strict=True)
    ]
    return " ".join(joined)


def _leading(text: str) -> str:
    marker = (
        _LEADING.match(text) if text[:1] in "-0123456789( \u2022\u2023\u25cf\u25aa\u25e6\u00b7\u25a0\uf0b7" else None
    )
    return capitalised(text[marker.end() :]) if marker and marker.end() < len(text) else text


_INLINE = re.compile(
    r"(?:(?:^|(?<=\s)|(?<=[.;:,]))\d{1,2}\)|(?:^|(?<=[.;:,] )|(?<=[.;:,])|(?<=[,;] and ))\(\d{1,2}\)|"
    r"(?:(?<=\s)|(?<=[.;:,]))[\u2022\u25cf\u25aa])\s+(?=[A-Za-z\d])"
)
_FIRST, _SECOND = re.compile(r"(?:^|[\s:;,.])\(?1\)\s"), re.compile(r"[\s:;,.]\(?2\)\s")


def _inline(text: str) -> str:
    """Markers of a list that runs on in one line: `1) ... 2) ...`, or bullets."""
    numbered = "1)" in text and "2)" in text and _FIRST.search(text) and _SECOND.search(text)
    if not numbered and "\u2022" not in text and "\u25cf" not in text and "\u25aa" not in text:
        return text
    parts = _INLINE.split(text)
    kept: list[str] = []
    for part, following in zip(parts, [*parts[1:], ""], strict=True):
        part = part.strip()
        if following and part and part[-1] not in ".!?:;," and not part.endswith((" and", " or")):
            part += "."
        if kept and kept[-1].endswith((".", "!", "?")):
            part = capitalised(part)
        kept.append(part)
    return " ".join(part for part in kept if part)


LIST_LINES = Rule(
    "lines", "list markers go and a line that ends a sentence gets its stop", "- a mass\n- a cyst", _lines
)
LIST_LEADING = Rule("list_marker", "a list marker that opens the caption is layout", "2) Axial image", _leading)
LIST_INLINE = Rule("inline_list", "so are the markers of a list in one line", "CT: 1) mass 2) cyst", _inline)
