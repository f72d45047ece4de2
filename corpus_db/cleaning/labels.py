"""Rules of labels: of figures, films, cases, patients and panels; what names the study stays."""

import re

from corpus_db.cleaning.rule import Caseless, Rule, Span, has_digit, listed, lower, removed, words_of
from corpus_db.cleaning.sentences import spans

KIND = (
    r"(?:(?:supplement(?:ary|al) |extended data )?(?:fig(?:ure)?s?\b\.?|films?|images?|img|slides?|"
    r"plates?|photos?|pictures?|pics?|videos?|scans?|panels?|screenshots?|cases?|patients?|pt|subjects?|"
    r"series|diagrams?|illustrations?))"
)
ONE = (
    r"(?:[sS]?\d{1,3}(?:[.-]\d{1,2})? ?(?:[a-hA-H](?:[,-][a-hA-H])*)?|[A-Z]|[a-h]|[ivxIVX]{1,4}|one|two|"
    r"three|four|five|six|seven|eight)(?!\w)"
)
_TIME = r"\w+ (?:years?|months?|weeks?|days?|hours?|minutes?)\b"  # "Figure 3, two years later" is of one figure
NUMBER = rf"#? ?(?:no\.? ?)?{ONE}(?:(?: ?(?:,|&|/) ?(?:and )?|-| and | to )(?!A [a-z]|{_TIME}){ONE})*"
_LABEL = re.compile(
    rf"[(\[]?(?P<kind>{KIND})(?:(?<=\.)|\b|(?=\d)) ?(?P<number>{NUMBER})(?: "
    rf"?\((?P<panel>[a-hA-H](?:[,-][a-hA-H])?)\))?(?: of \d{{1,3}})?"
    r"(?P<after>[)\]]?(?: ?[:.)\]|-]+)?(?=\s|$| ?[A-Z(]))",
    re.I,
)
_OPENING = Caseless(
    r"[(\[]?(?:supplement|extended|fig|film|image|img|slide|plate|photo|pic|video|scan|panel|screenshot|case|patient|pt|"
    r"subject|series|diagram|illustration)"
)
_GLUED_LABEL = re.compile(r"(?:fig(?:ure)?|image|film|case)\.? ?\d{1,2}[a-h]?[:.]", re.I)
_BOUND = listed(
    "with is are was were who had has have of and at in on after before that to from during aged or as "
    "which the a an "
    "by for under years year months month weeks days hours minutes cm mm"
)
_VERB = re.compile(
    r" ?(?:shows?|demonstrates?|reveals?|depicts?|illustrates?|displays?|represents?|is|presents?)\b"
    r"(?: (?:showing|of))?(?: (?:an?|the)\b)? ",
)
_WORD = re.compile(r" ?([A-Za-z]+)")
_KINDS = listed(
    "fig figs figure figures film films image images img slide slides plate plates photo photos "
    "picture pictures pic pics video videos scan scans panel panels screenshot screenshots case cases "
    "patient patients pt subject subjects series diagram diagrams illustration illustrations"
)
# on lower-case text
_LABELS = re.compile(
    r"(?:fig(?:ure)?s?\b|fig(?=\d)|figure(?=\d)|(?:films?|images?|img|slides?|plates?|photos?|"
    r"pictures?|pics?|videos?|scans?|panels?|screenshots?|cases?|patients?|pt|subjects?|series|"
    r"diagrams?|illustrations?) ?(?:#|no\b|\d|[a-z]\b|[ivx]{2,4}\b|one|two|three|four|five|six|seven|eight))"
)


def _label_at(text: str, start: int) -> int:
    """Where the label that opens a sentence at `start` ends; `start` where there is none."""
    opening, small = _OPENING.on(text)
    if not opening.match(small, start):
        return start
    found = _LABEL.match(text, start)
    if not found:
        glued = _GLUED_LABEL.match(text, start)
        return glued.end() if glued else start
    end = found.end()
    if found["after"].strip():
        return end
    if end >= len(text):
        return end
    kind = found["kind"].lower()
    verb = _VERB.match(text, end)
    if verb and not kind.startswith(("case", "patient", "pt", "subject", "scan")):
        return verb.end()
    word = _WORD.match(text, end)
    if kind in ("a", "pt") or not word or word[1].lower() in _BOUND or not text[end : end + 1].isspace():
        return start
    written = found["number"].strip("# ")
    if written.isalpha() and len(written) == 1 and (written.islower() or not word[1][0].isupper()):
        return start
    return end


def _figure_label(text: str) -> str:
    if _KINDS.isdisjoint(words_of(text)):
        return text
    found: list[Span] = []
    for start, end in spans(text):
        while text[start : start + 1] in ("*", " ", "\n"):
            start += 1
        stop = min(_label_at(text, start), end)
        if stop > start:
            while text[stop : stop + 1] in (" ", "-", ":", "."):
                stop += 1
            found.append((start, stop))
    return removed(text, found) if found and _LABELS.search(lower(text)) else text


_MODALITY = re.compile(r"^(?:CT|MRI?|X-?ray|US|PET) (?=(?:image|slice|scan|film|series|figure) ?#?\d{1,3}\.?$)", re.I)
_HASH = re.compile(r"\(#\d{1,4}(?:, ?#\d{1,4}){0,9}\) ?|(?:(?<=^)|(?<=[.:;] ))#\d{1,4}[:)]? ")
_OF_MANY = Caseless(
    r"(?: ?[,-])? ?\(?\b(?:this is )?(?:(?:image|slice|slide|frame|film|figure|fig\.?|view|series|panel|"
    r"picture|img|section|cut)s? ?#?|#)"
    r"\d{1,3}[a-z]? ?(?:of|/|out of) ?\d{1,3}\b\)?|\(\d{1,3} (?:of|out of) \d{1,3}\)|\(\d{1,2}/\d{1,2}\)$"
)


_COUNTED = re.compile(r"\d[a-z]? ?(?:of|/|out of) ?\d")


def _of_many(text: str) -> str:
    if "#" in text:
        found = [match.span() for match in _HASH.finditer(text)]
        text = removed(text, found) if found else text
    if has_digit(text) and _COUNTED.search(text):
        found = [match.span() for match in _OF_MANY.finditer(text)]
        text = removed(text, found) if found else text
    return text


_PANEL = re.compile(
    r" ?\((?:panels? |figs?\.? |figures? |images? |parts? )?(?:\d{1,2}(?=[A-H]))?(?P<first>[a-hA-H])"
    r"(?:(?: ?[,;&/-] ?| and | to |, and )(?:panels? )?[a-hA-H])*"
    r"(?:(?:, | )(?:top|bottom|left|right|upper|lower|middle)(?: (?:panel|image|row))?)?\)(?: ?:(?= "
    r"?[A-Z])|(?<=^\([A-Ha-h]\))\.(?= ?[A-Z]))?",
)
_LETTERED = re.compile(r"[(]?(?P<letter>[A-Ha-h])(?:[.:)]+|,(?= [A-Z])| ?-(?= ))\)? ?(?=[A-Za-z(\d])")
_TYPED = re.compile(
    r"\b(?:type|grade|stage|class|zone|level|group|factor|vitamin|hepatitis|segment|category|phase|"
    r"point|line|ring|pattern|influenza)$",
    re.I,
)


def _lettered(text: str) -> list[Span]:
    """Letters that open sentences or parts in order: `A: ... B: ...`."""
    found, wanted = [], "a"
    for start, end in spans(text):
        while start < end:
            match = _LETTERED.match(text, start, end)
            if match and match["letter"].lower() == wanted:
                found.append(match.span())
                wanted = chr(ord(wanted) + 1)
            start = text.find("; ", start, end) + 2
            if start == 1:
                break
    return found if len(found) > 1 else []


_STANDING = re.compile(r"(?<![\w(.'-])[b-hB-H](?![\w).'-])")


def _panel_label(text: str) -> str:
    found: list[Span] = []
    if "(" in text:
        standing = set(_STANDING.findall(text))  # letters that the text uses as words of its own
        for match in _PANEL.finditer(text):
            before = text[max(0, match.start() - 12) : match.start()]
            single = len(match[0].strip(" .:")) == 3
            if not _TYPED.search(before) and not (single and match["first"] in standing):
                found.append(match.span())
    if found:
        return removed(text, found)
    if len(text) > 2 and not text[1].isalpha():
        found = _lettered(text)
    return removed(text, found) if found else text


FIGURE_LABEL = Rule(
    "figure_label", "a figure's, film's or patient's number says nothing of it", "Film #3: a cyst", _figure_label
)
OF_MANY = Rule("image_of_many", "neither does an image's place in a series", "A cyst (image 1 of 6)", _of_many)
PANEL_LABEL = Rule(
    "panel_label", "a pair is one image: letters of panels go", "(A) CT and (B) MRI of a cyst", _panel_label
)
