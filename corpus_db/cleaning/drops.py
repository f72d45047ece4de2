"""Why a caption is dropped: the words of the drop reasons, and the captions that say nothing of their image."""

import string

from corpus_db.cleaning.narrative import is_history, may_tell
from corpus_db.cleaning.references import BARE_FOLLOW_UP
from corpus_db.cleaning.rule import Caseless, Change, listed
from corpus_db.cleaning.sentences import spans

TEMPLATE, PLACEHOLDER, EMPTY = "template", "placeholder", "empty"
CROSS_REFERENCE_ONLY, HISTORY_ONLY = "cross_reference_only", "history_only"

_TEMPLATE = Caseless(
    r"\W*(?:replace (?:this|with|the|me)\b|(?:please )?(?:enter|insert|type|add|put|write|describe|"
    r"provide|paste) (?:\w+ ){0,3}(?:caption|description|text|image description|findings|legend)"
    r"\b[^.]{0,30}(?:here|below)?\W*$"
    r"|(?:image )?(?:caption|description|text|legend) (?:goes |to go )?here\b|description of (?:the )"
    r"?image(?:s)?(?: (?:or|and) findings)?\W*$|image description(?: (?:or|and) findings)?\W*$|lorem "
    r"ipsum|your (?:caption|text)\b|\[?(?:caption|description|image description)\]?\W*$|<?(?:image|"
    r"figure) caption>?\W*$)"
)
_NOTHING = frozenset(
    [
        "n/a",
        "na",
        "n.a",
        "none",
        "n/c",
        "nc",
        "nil",
        "null",
        "nan",
        "undefined",
        "not available",
        "not applicable",
        "no caption",
        "no description",
        "tbd",
        "tba",
        "tbc",
        "to be determined",
        "to be announced",
        "to be added",
        "to be completed",
        "to follow",
        "pending",
        "in progress",
        "work in progress",
        "coming soon",
        "under construction",
        "unknown",
        "untitled",
        "test",
        "testing",
        "xxx",
        "xx",
        "xxxx",
        "x",
        "todo",
        "to do",
        "caption",
        "no title",
        "no text",
        "no findings given",
        "not provided",
        "none provided",
        "none given",
        "not given",
        "unavailable",
        "awaiting",
        "draft",
        "temp",
        "placeholder",
        "blank",
        "default",
        "sample",
        "asdf",
        "caption pending",
        "description pending",
        "none available",
        "no comment",
        "no comments",
        "no information",
        "not specified",
        "unspecified",
    ]
)
_STUDY_WORD = listed(
    "ct cta ctv mr mri mra mrv mrcp us pet spect xr x-ray xray x-rays xrays cxr radiograph radiographs "
    "radiography radiographic ultrasound ultrasonography sonogram "
    "sonography sonographic tomography tomographic computed computerized computerised computer "
    "magnetic resonance imaging image images scan scans film films picture "
    "pictures photo photos photograph photographs figure figures study studies slice slices plain view "
    "views the a an this of is tc rx angiogram angiography fluoroscopy mammogram "
    "mammography dsa echo nuclear medicine radiology radiological radiologic roentgenogram cat and "
    "with shown shows showing show exam examination series"
)
_AROUND = string.punctuation + string.whitespace
_CROSS = Caseless(
    r"(?:(?:please )?(?:see|refer to|same|as in|as|like|compare(?:d)? (?:to|with)|similar to)(?: (?:as|"
    r"in|to|with|the|above|below|previous|prior|preceding|next|following|last|first|other|caption|image|"
    r"images|figure|text|legend|discussion|findings|case|history|report|description|comments?|slide|"
    r"film|one|patient|study|series|note|notes|view|slice|topic|factoid|also|for|details|information|"
    r"more))*"
    r"|(?:above|below|ditto|idem|another (?:image|view|slice|example)|additional (?:images?|views?|"
    r"slices?)|other (?:images?|views?)|more (?:images?|views?)|continued|cont'?d|the (?:above|same))"
    r"|(?:same|previous|prior|next|following|above|subsequent|another|additional) (?:image|figure|"
    r"patient|case|slice|study|view|level)s?(?: (?:as|at|in|of|from|after) .{0,30})?)$"
)
_CROSS_RULES = frozenset(("cross_reference", "bare_follow_up", "figure_label", "image_of_many", "panel_label"))


_LONGEST = 5000  # characters; a longer text is not all history


def _says(text: str) -> str:
    return text.strip(_AROUND).casefold()


def reason_of(raw: str, text: str, edits: tuple[Change, ...] | list[Change]) -> str | None:
    """The drop reason of a caption that the rules made `text` of, None where it stays.

    `edits` tell what emptied a caption: a reference to elsewhere is a reason of its own.
    """
    if len(raw) < 2000 and _TEMPLATE.match(raw):
        return TEMPLATE
    said = _says(text)
    crossed = not _CROSS_RULES.isdisjoint([edit.rule for edit in edits])
    if not said:
        spoken = _says(raw) if text != raw else ""
        return CROSS_REFERENCE_ONLY if crossed else PLACEHOLDER if raw.strip() and not spoken else EMPTY
    if len(said) < 60:
        if said in _NOTHING:
            return PLACEHOLDER
        if _CROSS.match(said) or BARE_FOLLOW_UP.match(said):
            return CROSS_REFERENCE_ONLY
        words = said.replace("/", " ").split()
        if all(word.strip(_AROUND) in _STUDY_WORD for word in words):
            return CROSS_REFERENCE_ONLY if crossed else PLACEHOLDER
    if (
        len(said) < _LONGEST
        and may_tell(text)
        and all(is_history(text[start:end].strip()) for start, end in spans(text))
    ):
        return HISTORY_ONLY
    return None
