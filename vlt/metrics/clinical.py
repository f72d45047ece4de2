"""Clinical-term F1: the findings that a text affirms or denies, with their sides, against those of a reference.

Finding and side words are those of `vlt.words`. What denies a finding follows NegEx's idea (Chapman et al., Journal of
Biomedical Informatics 34, 2001): phrases before or after it, up to the end of the clause. docs/score.md has the limits.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from vlt.metrics.intervals import cluster_sums
from vlt.words import NORMAL, WordClass, classify, stem

Finding = tuple[str, bool, str | None]  # its stem, True: present, False: denied, its side


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WORD = re.compile(r"\d+\.\d+|\w+|[^\w\s]")
_ENDS = _words(". ; ! ? \u2022 but however except although though")
_JOINS = _words("and or nor with")
_SIDES = dict.fromkeys(_words("left leftward lt"), "left") | dict.fromkeys(_words("right rightward rt"), "right")
_SIDES |= dict.fromkeys(_words("bilateral bilaterally bibasilar bibasal biapical bihilar sides"), "bilateral")
_SIDES |= dict.fromkeys(_words("unilateral unilaterally"), "unilateral")
_PAIR = r"\b(left|right) (?:and|or|(?:greater|more|worse|larger|less) than|[/&>]) (?:the )?(?!\1)(?:left|right)\b"
_PLAINER = (  # what words of a text mean the same, or nothing
    (re.compile(_PAIR), "bilateral"),
    (re.compile(r"\bboth (?=(?:lungs?|bases|kidneys|hemithora\w+|lower|upper|breasts|hips|hila)\b)"), "bilateral "),
    (re.compile(r"\b(?:compared (?:to|with)|in comparison (?:to|with)|than) (?:the )?(?:left|right)\b"), ""),
    (re.compile(r"\benhanced (?=ct|mri?|t1|axial|coronal|sagittal|image)"), ""),
)
_SAME = {  # stems of one word that differ in their letters
    "bullous": "bulla",
    "fibrot": "fibros",
    "occlud": "occlus",
    "osteolyt": "lytic",
    "sclerotic": "scleros",
    "stenot": "stenos",
    "thrombi": "thromb",
    "thrombo": "thromb",
    "thrombus": "thromb",
    "torn": "tear",
    "tumour": "tumor",
    "varix": "varic",
}
_SPELLINGS = (
    (re.compile("ae"), "e"),
    (re.compile("oe"), "e"),
    (re.compile("itides$"), "itis"),
    (re.compile("oma(?:s|ta)$"), "oma"),
    (re.compile("^clots$"), "clot"),
)

_DENIALS = _words("no without nor neither")
_OF = {"negative": ("for",), "free": ("of", "from"), "clear": ("of",), "absence": ("of",), "resolution": ("of",)}
# "no change in the effusion" and "without contrast" deny no finding, nor does "not excluded" or "not well seen"
_NO_DENIAL = _words(
    """change changed increase increased decrease decreased improvement contrast gadolinium iv intravenous oral fat
    only well certain certainly necessarily excluded exclude"""
)
_BETWEEN = _words(
    """significant significantly substantial substantially appreciable definite definitely clearly currently obvious
    interval the any been be entirely completely"""
)
_SEEN = re.compile(r"seen|identified|present|demonstrated|visuali[sz]ed|noted|evident|appreciated|found|shown|detected")
_OTHER = _words("prior previous earlier lateral frontal oblique slice")  # "not seen on the prior study" denies nothing
_HAS = _words("has have had is are was were been completely and")  # before what denies the findings before it
_RELATIVE = _words("which that who")
_SUBJECTS = _words("there the this these it they")  # with a comma or "and" before, a denial is over
_VERBS = _words("is are was were has have")


class _Part(NamedTuple):
    """A piece of a clause between commas and joining words."""

    first: int  # number of its first word in the clause
    end: int
    joined: bool  # by "and", "or" or "with" to the one before


def findings(text: str) -> frozenset[Finding]:
    """What a text says: "No effusion; left nodules" says ("effusion", False, None) and ("nodul", True, "left").

    A side is that of the nearest side word in the same part of the clause, else of a part beside it. Words of normality
    ("clear", "normal") say nothing by themselves.
    """
    plain = " ".join(_WORD.findall(text.lower()))
    for pattern, meaning in _PLAINER:
        plain = pattern.sub(meaning, plain)
    return frozenset(finding for clause in _clauses(plain.split()) for finding in _said(clause))


def counts(references: Mapping[str, Sequence[str]], hypotheses: Mapping[str, str]) -> np.ndarray:
    """int64 (M, 3), in the order of the hypotheses: findings of both, of the hypothesis alone, of the reference alone.

    Of several references it is the one that agrees best, by F1, the first of these.
    """
    rows = []
    for key, text in hypotheses.items():
        said = findings(text)
        each = [(len(said & told), len(said - told), len(told - said)) for told in map(findings, references[key])]
        rows.append(max(each, key=_f1))
    return np.array(rows, np.int64).reshape(-1, 3)


def ratios(agree: int, extra: int, missed: int) -> dict[str, float | None]:
    """Precision, recall and F1 of summed `counts`; None where nothing was said that could be right."""
    return {
        "precision": agree / (agree + extra) if agree + extra else None,
        "recall": agree / (agree + missed) if agree + missed else None,
        "f1": _f1((agree, extra, missed)) if agree + extra + missed else None,
    }


def f1(references: Mapping[str, Sequence[str]], hypotheses: Mapping[str, str]) -> dict[str, float | None]:
    """Precision, recall and F1 of the findings of all texts together (micro-averaged)."""
    agree, extra, missed = counts(references, hypotheses).sum(0).tolist()
    return ratios(agree, extra, missed)


def resampled(rows: np.ndarray, clusters: Sequence[object]) -> dict[str, np.ndarray]:
    """`ratios` of samples (draws,) of whole clusters (M,) of texts, from `counts` (M, 3); NaN where there is none."""
    agree, extra, missed = cluster_sums(clusters, rows).T
    with np.errstate(invalid="ignore"):
        f1 = 2 * agree / (2 * agree + extra + missed)
        return {"precision": agree / (agree + extra), "recall": agree / (agree + missed), "f1": f1}


def _f1(row: tuple[int, int, int]) -> float:
    agree, extra, missed = row
    return 2 * agree / (2 * agree + extra + missed) if agree + extra + missed else 1.0


def _clauses(words: Sequence[str]) -> Iterator[list[str]]:
    clause: list[str] = []
    for word in words:
        if word in _ENDS:
            yield clause
            clause = []
        else:
            clause.append(word)
    yield clause


def _said(words: Sequence[str]) -> Iterator[Finding]:
    """The findings of one clause."""
    places = [place for place in range(len(words)) if _is_finding(words, place)]
    if not places:
        return
    denied, parts = _denied(words), _parts(words)
    for place in places:
        yield _name(words[place]), not denied[place], _side(words, parts, places, place)


@cache
def _name(word: str) -> str:
    """What all forms and spellings of a finding word have in common."""
    name = stem(word)
    name = _SAME.get(name, name)
    for pattern, spelling in _SPELLINGS:
        name = pattern.sub(spelling, name)
    return name


def _is_finding(words: Sequence[str], place: int) -> bool:
    word, before = words[place], words[max(place - 2, 0) : place]
    if word in NORMAL or word == "absence" or (NORMAL - _DENIALS - {"not", "negative"}).intersection(before):
        return False
    # two words before tell "contrast-enhanced"; of more, an "other" would take all findings away
    return classify([*before, word])[-1] == WordClass.FINDING or word == "enlarged"


def _denied(words: Sequence[str]) -> list[bool]:
    """Of each word of a clause: is a finding there denied?"""
    denied = [False] * len(words)
    now, since = False, 0  # the clause's own subject and verb began at `since`
    for place, word in enumerate(words):
        if word in (",", "and") and words[place + 1 : place + 2] and words[place + 1] in _SUBJECTS:
            now, since = False, place
        after = next((word for word in words[place + 1 :] if word not in _BETWEEN), "")
        if _denies_before(words, place, after):
            denied[since:place] = [True] * (place - since)
        elif _denies_after(word, after):
            now = True
        denied[place] = now
    return denied


def _denies_before(words: Sequence[str], place: int, after: str) -> bool:
    """ "... is not seen", "... has resolved", "... is absent", "... was ruled out"."""
    if place == 0 or words[place - 1] not in _HAS or _RELATIVE.intersection(words[max(place - 2, 0) : place]):
        return False
    word = words[place]
    if word == "not":
        return bool(_SEEN.fullmatch(after)) and not _OTHER.intersection(words[place:])
    return word in ("resolved", "absent") or (word == "ruled" and after == "out")


def _denies_after(word: str, after: str) -> bool:
    if word in _DENIALS or word == "not":
        return after not in _NO_DENIAL
    return word == "resolved" or after in _OF.get(word, ())


def _parts(words: Sequence[str]) -> list[_Part]:
    breaks = [place for place, word in enumerate(words) if word == "," or word in _JOINS]
    firsts, ends = [0, *(place + 1 for place in breaks)], [*breaks, len(words)]
    joined = [False, *(words[place] in _JOINS for place in breaks)]
    return [_Part(*part) for part in zip(firsts, ends, joined, strict=True)]


def _side(words: Sequence[str], parts: Sequence[_Part], findings: Sequence[int], place: int) -> str | None:
    number = next(number for number, part in enumerate(parts) if part.first <= place < part.end)
    own = _nearest(words, parts[number], place)
    beside = []
    for other, link in ((number - 1, number), (number + 1, number + 1)):
        if 0 <= other < len(parts) and (side := _nearest(words, parts[other], place)):
            first, end, _ = parts[other]
            bare = not any(first <= finding < end for finding in findings)
            beside.append((side, bare, parts[link].joined, bool(_VERBS.intersection(words[first:end]))))
    if own is None:
        return next((side for side, bare, joined, _ in beside if bare or joined), None)
    # "in the right upper and the left lower lobe"
    both = any(bare and joined and not verb and {side, own} == {"left", "right"} for side, bare, joined, verb in beside)
    return "bilateral" if both else own


def _nearest(words: Sequence[str], part: _Part, place: int) -> str | None:
    """The side named nearest to a word in a part of its clause; of two as near, the one before it."""
    sides = [other for other in range(part.first, part.end) if words[other] in _SIDES]
    return _SIDES[words[min(sides, key=lambda other: abs(other - place))]] if sides else None
