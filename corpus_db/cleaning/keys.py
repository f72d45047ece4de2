"""Rules of legend keys (`A - Aorta`, `L indicates lesion`) and one-letter marks, which stand on the image."""

import re
from functools import lru_cache
from itertools import chain

from corpus_db.cleaning.rule import Rule, Span, has, listed, removed, words_of
from corpus_db.cleaning.sentences import spans

_MARKED = (
    r"(?:(?:[A-Za-z-]{3,12} ){0,2}(?i:arrow[ -]?heads?|arrows?|asterisks?|stars?|circles?|lines?|"
    r"box(?:es)?|triangles?)|[*#+\u2190-\u21ff])"
)
_NAME = (
    rf"(?:{_MARKED}|[A-Z]{{1,3}}\d?|[A-Za-z][A-Za-z]?[A-Za-z]?[A-Z][A-Za-z]?|[A-Z]{{4,6}}|"
    rf"[A-Z][a-z]{{1,3}}|[a-z]{{1,3}}|\d{{1,2}})"
)
_ENTRY = re.compile(
    rf"(?:and |(?:Abbreviations?|Keys?|Legend|Notes?): ?)?(?P<name>{_NAME})(?: ?[=:] ?| - ?|- |"
    rf"(?<=\b[A-Z]) (?:is|marks?) (?:the )?|(?<=[A-Z]) (?:indicates?|denotes?|represents?|means|stands "
    rf"for|designates?) (?:the )?)"
    r"(?P<meaning>(?![\d.<>~\u2248-])[^=:;()]{2,70})$",
)
_BARE_NAME = re.compile(
    r"(?:and |(?:Abbreviations?|Keys?|Legend|Notes?): ?)?(?P<name>[A-Z]{1,3}[a-z]?[A-Z]?|[A-Z]{4,5}|"
    r"[A-Z][a-z]{1,2}|[a-z]{1,3})$"
)
_MEANING = re.compile(r"[a-z][\w '-]{2,50}$")
_STUDIES = listed(
    "ct mr mri mra mrv mrs mrcp us pet cxr xr kub cta ctv cect nect hrct dwi adc flair stir t1 t2 pd "
    "gre swi ap pa lat "
    "t1wi t2wi t1w t2w fse ivp ivu ercp dsa nm spect ugi bone head neck abd axial note chest mass size "
    "left right this that these those here her his she its both mild with from same also then than "
    "when were was are has had not one two see seen most more some such very large small film view fdg "
    "dx hx ddx "
    "os od lao rao bssfp ssfp mip mpr fs ir dir tse se opg us usg eus tte tee cbct vq ecg eeg "
    "cbf cbv mtt t2* t1c sag cor ax ax. pre post no yes hu suv in of at is on to by if or an as it the and no"
)
_CUT = re.compile(r"[.,](?!\d)\s*|[;\n]\s*|\s\|\s")
_OPEN_BRACKET = re.compile(r" ?\(([^()]{4,400})\)")
_VERBS = listed("indicate indicates denote denotes represent represents mark marks means stands designate designates")
_WORD_START = re.compile(r"[\s(.,;]")
_SEPARATORS = {  # by what to look for first
    ":": re.compile(":"),
    " -": re.compile(" -"),
    "- ": re.compile("-(?<! -) "),
    ",": re.compile(",(?= )(?<![a-z]{6},)(?<! [a-z]{5},)(?<! [a-z]{4},)"),  # not behind a plain word
}
_LONGEST = 6  # letters of a mark


def _explains(text: str) -> bool:
    """Whether `text` may explain marks; cheap, and errs on the side of yes."""
    if "=" in text or not _VERBS.isdisjoint(words_of(text)):
        return True
    found = (separator.finditer(text) for sign, separator in _SEPARATORS.items() if sign in text)
    for sign in chain.from_iterable(found):
        before = text[max(0, sign.start() - _LONGEST - 4) : sign.start()].rstrip()
        word = _WORD_START.split(before)[-1]
        short = len(word) <= _LONGEST and (sign[0] != "," or len(word) <= 3 or word[:1].isupper())
        if short or (sign[0] != "," and has(word, "arrow", "heads", "isks")):
            return True
    return False


_TAIL = re.compile(r"(?<=[a-z)] )(?P<name>[A-Z]{1,4}) ?[:=] ?(?P<meaning>[a-z][a-z -]{2,40})$")


def _initials(meaning: str) -> str:
    return "".join(word[0] for word in re.split(r"[\s-]+", meaning) if word).lower()


_TOKEN = re.compile(r"(?<![\w-])[\w]{1,12}(?!\w)")


@lru_cache(maxsize=2)
def _places(text: str) -> dict[str, Span]:
    """Where each short word of the text stands first and last."""
    found: dict[str, Span] = {}
    for token in _TOKEN.finditer(text):
        word = token[0]
        found[word] = (found[word][0] if word in found else token.start(), token.start())
    return found


def _used(name: str, text: str, inside: Span) -> bool:
    """Whether the text speaks of an abbreviation outside of where it is explained."""
    places = _places(text)
    for word in () if name in ("A", "a", "I") else (name, name + "s"):
        first, last = places.get(word, inside[:1] * 2)
        if word in places and (first < inside[0] or last >= inside[1]):
            return True
    return False


def _pieces(text: str, start: int, end: int) -> list[Span]:
    """A stretch of text, cut at commas, semicolons, stops and bars."""
    found = []
    for cut in _CUT.finditer(text, start, end):
        found.append((start, cut.start()))
        start = cut.end()
    return [*found, (start, end)] if start < end else found


def _entries(text: str, pieces: list[Span]) -> list[tuple[Span, str, str]]:
    """The pieces that explain a mark, each with the mark and its meaning; a pair of pieces (`R, radius`) is one."""
    found, number = [], 0
    while number < len(pieces):
        start, end = pieces[number]
        piece = text[start:end].strip()
        entry = _ENTRY.match(piece) if len(piece) < 120 else None
        if entry:
            found.append(((start, end), entry["name"], entry["meaning"]))
        elif number + 1 < len(pieces) and len(piece) < 22 and (bare := _BARE_NAME.match(piece)):
            after = text[slice(*pieces[number + 1])].strip()
            if _MEANING.match(after) and text[end : end + 1] == ",":
                found.append(((start, pieces[number + 1][1]), bare["name"], after))
                number += 1
        elif (
            number + 1 < len(pieces)
            and ("=" in piece or ":" in piece)
            and (tail := _TAIL.search(text, max(start, end - 60), end))  # the sentence before it has no stop
            and _ENTRY.match(text[slice(*pieces[number + 1])].strip())
        ):
            found.append(((tail.start(), end), tail["name"], tail["meaning"]))
        number += 1
    return found


def _is_key(name: str, meaning: str, alone: bool) -> bool:
    small = name.lower()
    if small in _STUDIES:
        return _initials(meaning) == small
    if name.isdigit():
        return meaning.islower() or len(meaning.split()) < 3
    if len(name) == 1 or not name.isalpha():
        return True
    if len(meaning.split()) > (5 if alone else 8):
        return False
    return not name.islower() or not alone


def _runs(text: str, start: int, end: int) -> list[Span]:
    """Runs of entries in one stretch, without those whose abbreviation the text uses elsewhere."""
    entries = _entries(text, _pieces(text, start, end))
    if not entries:
        return []
    covers = entries[0][0][0] <= start + 4 and entries[-1][0][1] >= end - 3
    if len(entries) < 2 and not covers:
        return []
    going = []
    block = (entries[0][0][0], entries[-1][0][1])
    for span, name, meaning in entries:
        if _is_key(name, meaning, len(entries) == 1) and not _used(name, text, block):
            going.append(span)
    return going


def _widened(text: str, span: Span) -> Span:
    """A span with the separators and spaces behind it."""
    start, end = span
    while text[end : end + 1] in (",", ";", ".", " ", "|") and end < len(text):
        end += 1
    return start, end


def _legend_key(text: str) -> str:
    if not _explains(text):
        return text
    found: list[Span] = []
    for match in _OPEN_BRACKET.finditer(text) if "(" in text else ():
        start, end = match.span(1)
        if "=" not in match[1] and ":" not in match[1] and "," not in match[1] and " - " not in match[1]:
            continue
        pieces = _pieces(text, start, end)
        entries = _entries(text, pieces)
        keyed = [
            entry for entry in entries if _is_key(entry[1], entry[2], False) and not _used(entry[1], text, (start, end))
        ]
        signs = "=" in match[1] or ":" in match[1] or " - " in match[1] or len(entries) > 1
        if (
            keyed
            and signs
            and len(keyed) == len(entries)
            and sum(e[0][1] - e[0][0] for e in entries) > 0.7 * (end - start)
        ):
            found.append(match.span())
    if found:
        return removed(text, found)
    for start, end in _stretches(text):
        found.extend(_widened(text, span) for span in _runs(text, start, end))
    kept = removed(text, found).rstrip(" ,;:-&") if found else text
    return _ended(kept, text) if len(kept) > 3 else text  # a caption that is nothing but a key stays


def _ended(kept: str, text: str) -> str:
    return kept + "." if kept and kept[-1].isalnum() and text[-1:] == "." else kept


def _stretches(text: str) -> list[Span]:
    """Sentences, neighbouring ones that each explain a mark taken together, from the colon that announces them."""
    found: list[Span] = []
    for start, end in spans(text):
        stripped_end = end - (len(text[start:end]) - len(text[start:end].rstrip()))
        colon = text.find("): ", start, stripped_end)
        found.append((colon + 3 if colon > 0 else start, stripped_end))
    return found


_LETTER = re.compile(r" ?\((?:[A-Za-z]|[A-Z](?:(?: ?[,;&/] ?| and )[A-Z]){1,6})\)")
_TYPED = re.compile(
    r"\b(?:type|grade|stage|class|zone|level|group|factor|vitamin|hepatitis|segment|category|phase|point|ring|pattern|"
    r"distance|angle|length|width|height|diameter|line|score)$",
    re.I,
)


_STANDING = re.compile(r"(?<![\w('.-])[A-Za-z](?![\w)'.-])")


def _mark(text: str) -> str:
    """One letter in brackets, unless the text goes on to use it or it is a side that opens a phrase."""
    if "(" not in text:
        return text
    found: list[Span] = []
    standing = set(_STANDING.findall(text)) - {"a", "A", "I"}
    for match in _LETTER.finditer(text):
        before = text[max(0, match.start() - 12) : match.start()]
        if standing.isdisjoint(match[0].removeprefix(" and ")) and not _TYPED.search(before):
            found.append(match.span())
    return removed(text, found) if found else text


LEGEND_KEY = Rule(
    "legend_key", "a key explains marks that stand on the image", "A cyst. L indicates liver; S, spleen.", _legend_key
)
MARK = Rule("one_letter_mark", "a letter in brackets is a mark on the image", "The rib (R) is broken.", _mark)
