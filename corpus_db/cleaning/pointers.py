"""Rules of pointers: words that point to marks drawn on the image, which no reader of the pixels can be held to."""

import re

from corpus_db.cleaning.rule import Caseless, Rule, Span, has, listed, lower, removed, without, words_of

_COLOUR = r"(?:white|black|red|green|blue|yellow|orange|purple|pink|cyan|magenta|gr[ae]y|brown|coloured|colored|gold)"
_MANNER = (
    r"(?:small|large|big|short|long|thick|thin|curved|straight|solid|open|hollow|filled|closed|dashed|"
    r"dotted|broken|double|"
    r"single|bold|block|upper|lower|top|bottom|left|right|vertical|horizontal|oblique|upward|upwards|"
    r"downward|downwards|"
    r"middle|central|outlined|notched|wavy|bent|fat|tailed|empty|light|dark|two|three|four|six|both|first|second|third|"
    r"higher|inferior|superior|anterior|posterior|medial|lateral|proximal|distal|longer|shorter|thicker|"
    r"bigger|smallest|largest|diagonal|inner|outer|"
    r"opposing|bidirectional|double-headed|tailless|angled|other|larger|smaller)"
)
_MARK = (
    r"(?:arrow[ -]?heads?|arrows?|arrowed|asterisks?|asterixs?|asterix|stars?|starred|triangles?|chevrons?|crosshairs?|"
    r"circled?s?|circles|encircled|box(?:es|ed)?|squares?|rectangles?|ellipses?|ovals?|pointers?|markers|dots|"
    r"(?:dotted|dashed|white|black|red|yellow|green|blue|solid) lines?|brackets?|callipers|cal[l]?ipers?|diamonds?|"
    r"hash(?: ?tags?)?|cross(?:es)?|plus signs?|outlined area|"
    r"[*\u2217\u2190-\u21ff\u2794-\u27be\u25b2\u25b6\u25bc\u25c0\u2605\u2606\u25cf\u25cb\u2020\u2021#+]{1,4})"
)
_JOIN = (
    r"(?:and|or|in|on|at|by|with|see|the|of|a|an|to|as|is|are|indicated|marked|shown|pointed|out|"
    r"pointing|denoted|between|respectively|image|panel|figure|inset|note|same|each|[A-Ha-h]|\d{1,2}|"
    r"[,;&/-]|e\.g\.)"
)
_WORD = re.compile(r"[^\s,;&/()\[\]:]+|[,;&/:]")
_MARK_WORD = re.compile(rf"{_MARK}$", re.I)
_OTHER_WORD = re.compile(
    rf"(?:{_COLOUR}|{_MANNER}|{_JOIN}|(?:{_COLOUR}|{_MANNER})-(?:{_COLOUR}|{_MANNER}|headed)|lines?|head|heads)$", re.I
)
_LINE = re.compile(rf"(?:{_COLOUR}|dotted|dashed|solid|broken) lines?\b|arrow heads?", re.I)
_BRACKET = re.compile(r" ?[(\[]([^()\[\]]{1,90})[)\]]")
_SEGMENT = re.compile(r"\s?[,;:] |\s-\s?|-\s")
_MARK_WORDS = (
    "arrow",
    "aster",
    "star",
    "triang",
    "chevron",
    "cross",
    "circle",
    "box",
    "square",
    "rectang",
    "ellips",
    "oval",
    "pointer",
    "marker",
    "line",
    "dots",
    "bracket",
    "caliper",
    "calliper",
    "diamond",
    "hash",
    "outlined",
)
_SYMBOL = re.compile(r"[*\u2217\u2190-\u21ff\u2794-\u27be\u25b2\u25b6\u25bc\u25c0\u2605\u2606\u2020\u2021]")


_ONE_ARROW = re.compile(r"(?:[\w-]+ ){0,2}(?:arrow ?heads?|arrows?|asterisks?)$", re.I)


def _points(words: str) -> bool:
    """Whether a phrase is nothing but a pointer: a mark, and words of colour, size, place and order."""
    if _ONE_ARROW.match(words):
        return True
    mark = bool(_LINE.search(words))
    for word in _WORD.findall(words):
        if _MARK_WORD.match(word) or (word.lower() in ("line", "lines") and mark):
            mark = True
        elif not _OTHER_WORD.match(word):
            return False
    return mark


def _bracketed(text: str) -> str:
    """Brackets that only point go; a part of a bracket that does goes alone."""
    found: list[Span] = []
    for match in _BRACKET.finditer(text):
        inside = match[1]
        if not (
            has(inside, *_MARK_WORDS) or _SYMBOL.search(inside) or inside.strip() in ("#", "+", "\u25cf", "\u25cb")
        ):
            continue
        if _points(inside):
            found.append(match.span())
            continue
        parts, start = [], 0
        for cut in [*_SEGMENT.finditer(inside), None]:
            end = cut.start() if cut else len(inside)
            parts.append((start, end))
            start = cut.end() if cut else end
        pointing = [part for part in parts if _points(inside[slice(*part)])]
        for part in pointing:
            at = match.start(1)
            last = part == parts[-1]
            start = parts[parts.index(part) - 1][1] if last else part[0]
            end = part[1] if last else parts[parts.index(part) + 1][0]
            if not found or found[-1][1] <= at + start:
                found.append((at + start, at + end))
    return removed(text, found) if found else text


_ARROW = (
    rf"(?:(?:the|an?) )?(?:(?:{_COLOUR}|{_MANNER})(?:[ -]|, | and )){{0,3}}(?:arrow[ -]?heads?|arrows?|"
    rf"asterisks?|asterix|stars?|circles?|box(?:es)?|triangles?|rectangles?|squares?|ovals?|(?:dotted|"
    rf"dashed|white|black|red|green|blue|yellow|orange) lines?)\b(?: (?:[A-H]|\d)\b)?"
)
_MORE = rf"(?:(?: and |, | or ){_ARROW})?"
_INDICATED = Caseless(
    rf",? ?\b(?:(?:as|that is|which is|is|are|and)? ?(?:best )?(?:indicated|shown|marked|demonstrated|"
    rf"denoted|seen|outlined|pointed(?: out| to)?|highlighted|delineated|"
    rf"designated|identified|depicted|illustrated|noted|labell?ed|signified|represented|circled|defined|"
    rf"encircled|demarcated)(?: here)? (?:by|with|at|in|using|on|within) {_ARROW}{_MORE}"
    rf"|(?:at|see|note|by|near|under|between|along|adjacent to) (?=[a-z -]{{0,40}}(?:arrow|asteris))"
    rf"{_ARROW}{_MORE}|following the arrows?)(?! sign| points?| indicat| show)"
)
_BE = re.compile(r"^,? ?\b(?:is|are|and) ", re.I)
_POINTS_TO = (
    rf"(?:{_ARROW})(?: (?:in (?:panel )?[A-H]|in (?:the|this) (?:image|scan|figure|picture|film|"
    rf"radiograph)|here))?,? (?:(?:points?|pointing|directed|is pointing|are pointing)(?: out| to| at| "
    rf"toward| towards| the)?|(?:is |are )?(?:indicat(?:es?|ing|ed)|shows?|showing|marks?|marking|"
    rf"demonstrates?|demonstrating|denot(?:es?|ing)|depicts?|depicting|identif(?:y|ies|ying)|represents?|"
    rf"representing|highlights?|highlighting|delineates?|outlines?|signif(?:y|ies)|refers? to|"
    rf"corresponds? to|designates?|localizes?|illustrates?|reveals?|at|to))\b(?: to)?(?: (?:the|an?)\b)? ?"
)
_AFTER = Caseless(rf"(?:(?<=^)|(?<=[.;:,] )|(?<=\) )|(?<= and )|(?<=with ))(?:{_POINTS_TO})")
_TRAILING = Caseless(rf", {_ARROW}(?=[.;]?$)")


def _indicated(text: str) -> str:
    """`as indicated by the arrow`: the phrase goes; a verb that carried it (`is shown by arrows`) stays."""
    found = []
    for match in _INDICATED.finditer(text):
        phrase = text[slice(*match.span())]
        verb = _BE.match(phrase)
        if verb and not phrase.lstrip(", ").lower().startswith("and"):
            words = phrase.split()
            start = match.end()
            for word in ("by", "with", "at", "in", "using", "on", "within"):
                if word in words:
                    start = match.start() + phrase.index(f" {word} ")
                    break
            found.append((start, match.end()))
        else:
            found.append(match.span())
    return removed(text, found) if found else text


def _points_to(text: str) -> str:
    """`Arrow points to the likely tract` keeps `Likely tract`."""
    found = [match.span() for match in _AFTER.finditer(text)]
    return removed(text, found) if found else text


_INLINE_WORDS = listed(
    "arrow arrows arrowhead arrowheads asterisk asterisks asterix star stars circle circles box boxes "
    "triangle triangles rectangle rectangles square squares oval ovals line lines"
)
# on lower-case text
_INLINE_MARK = re.compile(
    r"arrow|asteri|\b(?:stars?|circles?|box(?:es)?|triangles?|rectangles?|squares?|ovals?|lines?)\b"
)


def _pointer(text: str) -> str:
    if ("(" in text or "[" in text) and (
        has(text, *_MARK_WORDS)
        or "*" in text
        or (not text.isascii() and _SYMBOL.search(text))
        or "(#" in text
        or "(+" in text
    ):
        text = _bracketed(text)
    if not _INLINE_WORDS.isdisjoint(words_of(text)) and _INLINE_MARK.search(lower(text)):
        text = _points_to(_indicated(text))
        if has(text, "arrow", "asterisk") and not has(text, "arrowhead sign", "arrow sign"):
            text = without(_TRAILING, text)
    return text


_ASTERISK = re.compile(
    r"(?<!T2)(?<![\d)\w*])\*+ ?(?!\d? ?[x\u00d7])|(?<!T2)(?<!\*)\*+(?=$|[.,;:)]| ?$)|(?<=\s)\*+(?=\s|$)"
)


def _asterisk(text: str) -> str:
    if "*" not in text:
        return text
    found = [match.span() for match in _ASTERISK.finditer(text)]
    return removed(text, found).strip() if found else text


POINTER = Rule(
    "pointer", "arrows and asterisks are drawn on, and often on another copy", "A cyst (white arrow).", _pointer
)
ASTERISK = Rule("asterisk", "outer asterisks mark, they say nothing", "*A cyst of 2 cm. *", _asterisk)
