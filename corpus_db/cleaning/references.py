"""Rule of cross references: what points to another figure, image, table or patient goes."""

import re

from corpus_db.cleaning.labels import NUMBER
from corpus_db.cleaning.rule import Caseless, Rule, listed, lower, without, words_of
from corpus_db.cleaning.sentences import without_sentences

_FIGURE = (
    rf"(?:(?:supplement(?:ary|al) )?(?:fig(?:ure)?s?\b\.?|tables?|videos?) ?{NUMBER}|(?:images?|films?|"
    rf"slides?|panels?|cases?|patients?|photos?|pictures?) ?(?:#? ?\d{{1,3}}[a-h]?(?!\w)|[A-H](?!\w))(?: "
    rf"?(?:,|&|-|and|to) ?\d{{1,3}}[a-h]?(?!\w))*)"
)
_OTHER = (
    r"(?:the )?(?:previous|prior|preceding|next|following|above|below|last|first|other|earlier|adjacent|"
    r"same) (?:images?|figures?|figs?\.?|films?|slides?|pictures?|panels?|legend|caption|discussion|"
    r"text|case|page)"
)
_SAME = r"(?:the )?same (?:patient|case|subject|individual|person|child|infant|woman|man|boy|girl|fetus)"
_SEEN = (
    r"(?:(?:as |also |that (?:is |was )?|which (?:is |was )?|and )?(?:shown|seen|depicted|demonstrated|"
    r"illustrated|described|presented|noted|displayed|given|visuali[sz]ed|pictured|identified))"
)
_WHERE = r"(?:in|on|by|from|with|of|to|at|as in|as|as on)"
_REFERENCE = rf"(?:{_FIGURE}|{_OTHER})"
_SEE = (
    r"(?:please )?(?:see(?: also)?|refer to|compare (?:this )?(?:with|to)|compared? (?:with|to)|cf\.?|"
    r"same as|as in|as on|similar to|also see|also|continued from|correlate with)"
)

_BRACKETED = Caseless(
    rf" ?[(\[](?:\d{{1,3}},? )?(?:(?:{_SEE}|{_SEEN}) )?(?:{_WHERE} )?(?:the )?(?:{_REFERENCE}|{_SAME}(?: "
    rf"(?:as|of|with|in)(?: (?:in|shown in))? {_REFERENCE})?)"
    rf"(?:(?:, |; | and ){_REFERENCE})*(?: (?:above|below|for comparison|for details))?[)\]]"
    r"| ?[(\[](?:(?:same|identical) (?:patient|case|image|level|slice)(?: as (?:above|before|previous))"
    r"?|(?:see|as) (?:above|below|text|discussion|findings)|answer (?:below|above)|close-?up|colou?r "
    r"(?:figure|version|image) (?:is )?(?:available )?online|(?:original|colou?r) (?:figure|image))[)\]]"
)
_INLINE = Caseless(
    rf",? ?(?:\b(?:in|of|from|on) )?\b{_SAME},? (?:as|of|with|shown|seen|presented|described|depicted|in)"
    rf"(?: (?:that )?(?:seen|shown|in|shown in|seen in|depicted in))? {_REFERENCE}"
    rf"|,? ?\b{_SEEN} {_WHERE} (?:the )?{_REFERENCE}"
    rf"|,? ?\b(?:when )?(?:as compared|compared|in comparison|similar|identical|corresponding|analogous|"
    rf"relative) (?:with|to) (?:that (?:in|of) |those (?:in|of) )?(?:the )?{_REFERENCE}"
    rf"|,? ?\b(?:(?:at|from) )?(?:the )?same (?:level|location|position|slice|plane|study|series|"
    rf"examination|view) as (?:that )?(?:in |shown in )?(?:the )?{_REFERENCE}"
    rf"|,? ?\b(?:as |than )?{_WHERE} (?:the )?{_FIGURE}(?! (?:of|years?|months?|weeks?|days?|hours?|minutes?|cm|mm)\b)"
    rf"|(?<= and )(?:fig(?:ure)?s?\b\.?) ?{NUMBER} (?=[a-z])|(?<=\b(?:CT|MR)) images? "
    rf"\d{{1,3}}[a-h]?(?=[.:]|$)|(?<=\bMRI) images? \d{{1,3}}[a-h]?(?=[.:]|$)"
    rf"|,? ?\b(?:in|of|from|on) {_SAME}\b(?! (?:with|who|after|at|as))"
)
_ABOUT = (
    r"(?:(?:this|these|the) )?(?:(?:images?|figures?|slices?|films?|scans?|views?|pictures?|sequences?) "
    r")?(?:(?:is|are|was) )?"
)
_RELATES = (
    r"(?:corresponds?|corresponding|compares?|refers?|relates?|belongs?|match(?:es)?|(?:the )?same|"
    r"identical|similar|taken|obtained)"
)
_SENTENCE = Caseless(
    rf"\(?(?:(?:{_SEE} (?:{_WHERE} )?|(?:also )?{_SEEN} {_WHERE} |{_ABOUT}{_RELATES} (?:to|with|as|in|"
    rf"from) (?:that (?:in|of) )?)(?:the )?(?:(?:CT|MRI?|DWI|ADC|FLAIR) )?{_REFERENCE}[^.!?,]{{0,40}}"
    rf"|{_SAME}(?: (?:as|with|of|in)(?: (?:that )?(?:in|shown in|seen in))? (?:the )?{_REFERENCE})?|{_REFERENCE}"
    rf"|(?:see|as) (?:above|below|text|discussion|findings|comments?|report|case|topic|factoid|"
    rf"description)(?: (?:above|below|for details))?"
    rf"|(?:same )?as (?:above|before|previous|prior))\)?[.!]?$"
)
_STUDY = (
    r"(?:ct|mri?|mra|cta|pet(?:[/-]ct)?|ultrasound|us|x-?rays?|radiographs?|films?|imag(?:es?|ing)|"
    r"scans?|stud(?:y|ies)|slices?|views?|computed tomography|magnetic resonance imaging|angiograms?|"
    r"examinations?|exams?|series|sequences?|sonograms?)"
)
BARE_FOLLOW_UP = Caseless(
    rf"(?:(?:the|a|an|this|these|his|her|our) )?(?:subsequent|follow[- ]?up|repeat(?:ed)?|prior|previous|"
    rf"next|later|additional|another|further|other|more|second|last|same|comparison|companion)"
    rf"(?: {_STUDY}){{1,4}}(?: (?:is|was|were|are))?(?: (?:performed|obtained|done|taken|acquired|shown|available))?"
    rf"(?: (?:at|on|in|of|after|for) ?(?:the )?(?:same (?:patient|case|day)|later date|comparison)?)?[.:]?$"
)
_FOLLOWING = listed(
    "subsequent follow followup repeat repeated prior previous next later additional another further "
    "other more second last same comparison companion"
)


_DIRECT = listed("fig figs figure figures see same refer above below close closeup answer online original")
_KINDS = listed(
    "image case patient film table slide panel video photo picture images cases patients films tables "
    "slides panels videos photos pictures"
)
_ORDERS = listed("previous prior preceding next following last first other earlier adjacent")
# on lower-case text
_KIND_NUMBER = {
    kind: re.compile(rf"{kind}s? ?(?:#|\d|[a-h]\b)")
    for kind in ("image", "case", "patient", "film", "table", "slide", "panel", "video", "photo", "picture")
}
_ORDER_KIND = re.compile(
    r"(?:previous|prior|preceding|next|following|last|first|other|earlier|adjacent) (?:ima|fig|fil|sli|"
    r"pic|pan|leg|cap|dis|tex|cas|pag)"
)


# on lower-case text, and what `_INLINE` needs: a figure behind a word, or another image or the same patient
_FIGURE_AT = re.compile(
    r" (?:supplement|fig|table|video|(?:image|film|slide|panel|case|patient|photo|picture)s? ?(?:#|\d|[a-h]\b))"
)
_OTHER_AT = re.compile(
    r"(?:same|above|below|previous|prior|preceding|next|following|last|first|other|earlier|adjacent) "
    r"(?:ima|fig|fil|sli|pic|pan|leg|cap|dis|tex|cas|pag|pat|sub|ind|per|chi|inf|wom|man|boy|gir|fet)"
)


def _numbered(small: str) -> bool:
    """Whether a kind of image or a patient has a number or a letter, in lower-case text."""
    return any(kind in small and pattern.search(small) for kind, pattern in _KIND_NUMBER.items())


def _names(text: str) -> bool:
    """Whether `text` may name a figure or a patient, as every reference within a sentence does."""
    small = lower(text)
    return not text.isascii() or bool(_FIGURE_AT.search(small) or _OTHER_AT.search(small))


def _refers(text: str) -> bool:
    """Whether `text` may refer to something; cheap, and errs on the side of yes."""
    found = words_of(text)
    return (
        not _DIRECT.isdisjoint(found)
        or (not _KINDS.isdisjoint(found) and _numbered(lower(text)))
        or (not _ORDERS.isdisjoint(found) and bool(_ORDER_KIND.search(lower(text))))
    )


def _cross_reference(text: str) -> str:
    if _refers(text):
        if "(" in text or "[" in text:
            text = without(_BRACKETED, text)
        text = without_sentences(text, _SENTENCE.match)
        text = without(_INLINE, text) if _names(text) else text
    return text


def _follow_up(text: str) -> str:
    if _FOLLOWING.isdisjoint(words_of(text)):
        return text
    return without_sentences(text, BARE_FOLLOW_UP.match)


CROSS_REFERENCE = Rule(
    "cross_reference", "a caption points to nothing outside its image", "A cyst (see Figure 2).", _cross_reference
)
FOLLOW_UP = Rule(
    "bare_follow_up", "a study named only by its place after another one", "Subsequent CT images. A cyst.", _follow_up
)
