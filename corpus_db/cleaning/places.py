"""Rule of places of care: hospitals, universities and their like, with the preposition that leads to them."""

import re
from functools import lru_cache

from corpus_db.cleaning.rule import Rule, Span, listed, removed, without, words_of

_CAPITALS = re.compile(r"[A-Z](?<![\w.'-][A-Z])[\w.'-]*+,? [A-Z]")


@lru_cache(maxsize=4)
def may_name(text: str) -> bool:
    """Whether two words in a row open with capitals, as names do."""
    return bool(_CAPITALS.search(text))


_PLACE = re.compile(
    r"\b(?:Hospitals?|Medical (?:Center|Centre|School|College)|Clinics?|Infirmary|Health (?:System|"
    r"Center|Centre|Service|Network)|Healthcare|Hospice|Universit(?:y|ies)|Polyclinic|Institute|"
    r"Foundation|Sanatorium|Children's|Cancer (?:Center|Centre)|Imaging Center|Trauma Center|Heart "
    r"Center|Klinikum|H[o\u00f4]pital|Ospedale|Universit\u00e4tsklinikum|Krankenhaus|Policlinico|"
    r"Surgery Center|Nursing Home|Care Home|Rehabilitation Center)\b"
)
_PREFIX = re.compile(
    r"(?:(?:[A-Z\u00c0-\u00d6\u00d8-\u00de][\w'.&\u00c0-\u017f-]{0,25}|of|and|the|for|de|du|di|&|-),? ){1,7}$"
)
_BEHIND = re.compile(
    r"(?: (?:of|for|at|in)(?: the)?(?: [A-Z\u00c0-\u00de][\w'-]{1,25}){1,4}| (?:Beaujon|"
    r"[A-Z][a-z\u00c0-\u017f]{2,20})(?=[.,;)\n]|$))?(?: (?:Hospital|Medical Center|School of Medicine|"
    r"Health System|Clinic|Infirmary|Cancer Center|gAG|NHS Trust|Trust|Inc)){0,2}"
    r"(?:(?: in|,) (?:[A-Z][\w'-]{1,25})(?: [A-Z][\w'-]{1,25}){0,2}){0,3}"
)
_LEAD = re.compile(
    r"(?:,? ?\b(?:(?:at|from|in|to|by|of|via|with|near|through)(?: the)?(?: (?:files?|archives?|"
    r"collection|department|radiology department|division|emergency department|emergency room|er|ed|icu)"
    r" (?:of|at)(?: the)?)?|(?:department|division|section) of \w+(?: \w+)?(?: at|,)(?: the)?)) $",
    re.I,
)
_NOT_OPENING = listed(
    "the a an this at on our in when while after he she they his her their initial first second "
    "previous prior and of for to by local outside "
    "community general county tertiary regional hospital referring transferred admitted post another "
    "same multiple many several most some all "
    "university teaching pediatric psychiatric military veterans day no in-hospital patient patients "
    "upon during following since with"
)
_SYSTEM = re.compile(
    r" (?:criteria|classification|scale|scores?|grading|staging|protocol|guidelines?|trial|study group|"
    r"solution|bag|tube|sign|stay|course|day|admission|discharge|records?|visit|follow|acquired|setting|"
    r"based|of North America)",
    re.I,
)
_INITIALS = re.compile(
    r"(?:,? ?\b(?:at|from|to|by|of|in|via)(?: the)? )(?:AFIP|USUHS|WRAMC|NNMC|TAMC|BAMC|MAMC|MGH|BWH|"
    r"UCSF|UCLA|UPMC|NNMCSD|WHMC|LRMC|CHOP|MSKCC|NMCP|NMCSD|DDEAMC|WBAMC|DGMC|VAMC|MDACC)\b"
)
_INITIAL_WORDS = listed(
    "afip usuhs wramc nnmc tamc bamc mamc mgh bwh ucsf ucla upmc nnmcsd whmc lrmc chop mskcc nmcp nmcsd ddeamc wbamc "
    "dgmc vamc mdacc"
)
_INITIAL_PARTS = ("AFIP", "USUHS", "MC", "MGH", "BWH", "UCSF", "UCLA", "CHOP", "MSKCC", "NMC")


def _place_at(text: str, found: re.Match[str], floor: int) -> Span | None:
    """The whole name of a place of care around its kind (`Hospital`), with the preposition that leads to it."""
    window = max(floor, found.start() - 140)
    prefix = _PREFIX.search(text, window, found.start())
    start = found.start()
    if prefix:
        start = prefix.start()
        if start == window > floor:  # began inside a word
            start = text.find(" ", start, found.start()) + 1 or found.start()
        words = re.split(r"(?<= )", text[start : found.start()])
        while words and words[0].strip(" ,.").lower() in _NOT_OPENING | {"-", "&"} and not _only_generic_left(words):
            start += len(words.pop(0))
        if not any(
            (word[:1].isupper() and word.strip(" ,.").lower() not in _NOT_OPENING)
            or (len(words) > 1 and word[:1].isupper())
            for word in words
        ):
            start = found.start()
    behind = _BEHIND.match(text, found.end())
    end = behind.end() if behind else found.end()
    named_behind = bool(behind and re.match(r" (?:of|for)\b| [A-Z\u00c0-\u00de]", behind[0]))
    if start == found.start() and not (
        named_behind and found[0] not in ("Children's", "Clinic", "Clinics", "Foundation", "Hospital")
    ):
        return None
    if found[0] in ("Children's", "Foundation") and not re.search(r"Hospital|Medical", text[start:end]):
        return None
    if _SYSTEM.match(text, end) or text[start:end].lower().startswith("hospital day"):
        return None
    lead = _LEAD.search(text, max(floor, start - 60), start)
    return (lead.start() if lead else start), end


def _only_generic_left(words: list[str]) -> bool:
    return len(words) <= 1


_PLACE_WORDS = listed(
    "hospital hospitals medical clinic clinics infirmary health healthcare hospice university "
    "universities polyclinic institute foundation sanatorium children cancer imaging trauma heart "
    "klinikum ospedale universitätsklinikum krankenhaus policlinico surgery nursing care "
    "rehabilitation hopital hôpital"
)


def institution(text: str) -> str:
    found: list[Span] = []
    if may_name(text) and not _PLACE_WORDS.isdisjoint(words_of(text)):
        floor = 0
        for match in _PLACE.finditer(text):
            if match.start() < floor:
                continue
            span = _place_at(text, match, floor)
            if span:
                found.append(span)
                floor = span[1]
    text = removed(text, found) if found else text
    if text.isascii() and _INITIAL_WORDS.isdisjoint(words_of(text)):
        return text
    return without(_INITIALS, text) if any(map(text.__contains__, _INITIAL_PARTS)) else text


INSTITUTION = Rule(
    "deid_institution",
    "a place of care narrows down a patient",
    "CT at Larkmoor General Hospital shows a cyst.",
    institution,
)
