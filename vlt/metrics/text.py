"""Scores of generated text against references: BLEU, ROUGE-L, CIDEr and METEOR, by pycocoevalcap's scorers.

Sources: BLEU, Papineni et al., ACL 2002; ROUGE-L, Lin and Och, ACL 2004; CIDEr, Vedantam et al., CVPR 2015 (arXiv
1411.5726); METEOR, Denkowski and Lavie, WMT 2014, a Java program. docs/score.md has the tokenisation and the limits.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from corpus_db.read import UserError
from vlt.metrics import meteor
from vlt.metrics.intervals import cluster_sums

BLEU = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4")
METRICS = (*BLEU, "ROUGE-L", "CIDEr", "METEOR")
ORDER = len(BLEU)

_MARKS = r".,;:!?()\[\]{}\"“”…\u2013\u2014"
_WORD = re.compile(rf"(?:[^\s{_MARKS}']|(?<=\d)[.,:](?=\d)|(?<=\w)'(?=\w))+|[{_MARKS}']")
_BREAK = re.compile(r"[^\S ]+")

References = Mapping[str, Sequence[str]]
Hypotheses = Mapping[str, str]


class Scored(NamedTuple):
    """The scores of M texts, as a whole and each; the arrays are in the order of `ids`."""

    ids: tuple[str, ...]
    values: dict[str, float | None]  # of the whole, by METRICS; None: not measured
    absent: dict[str, str]  # why a metric was not measured
    bleu: np.ndarray  # int64 (M, 10), what `bleu` is made of
    rouge_l: np.ndarray  # float64 (M,), whose mean is the whole's
    cider: np.ndarray  # float64 (M,), whose mean is the whole's; n-gram weights are those of all M texts' references
    meteor: np.ndarray | None  # float64 (M, 23), what `meteor.score` makes it of


def tokenise(text: str) -> str:
    """Lower-cased words with one space between, punctuation alone; "1.8", "well-defined" and "patient's" stay whole.

    A text that is so already is given back byte for byte: published scores were made on such texts, and ROUGE-L as
    pycocoevalcap has it counts a second space as a word.
    """
    text = _BREAK.sub(" ", _storable(text)).strip()
    words = _WORD.findall(text.lower())
    return text if text.split() == words else " ".join(words)


def scores(references: References, hypotheses: Hypotheses, *, raw: bool = False) -> dict[str, float | None]:
    """`sentence_scores(...).values`: the scores of the whole, by METRICS."""
    return sentence_scores(references, hypotheses, raw=raw).values


def sentence_scores(references: References, hypotheses: Hypotheses, *, raw: bool = False) -> Scored:
    """Each hypothesis against the references of its id, and all as a whole; `raw` takes texts as they are.

    UserError as `check` has it.
    """
    return systems_scores(references, [hypotheses], raw=raw)[0]


def systems_scores(references: References, systems: Sequence[Hypotheses], *, raw: bool = False) -> list[Scored]:
    """`sentence_scores` of several systems' hypotheses, at one start of Java."""
    for hypotheses in systems:
        check(references, hypotheses)
    prepare = _storable if raw else tokenise
    told = {key: [prepare(text) for text in texts] for key, texts in references.items()}
    said = [{key: [prepare(text)] for key, text in hypotheses.items()} for hypotheses in systems]
    rows, why = meteor.counted([(key, told[key], text) for one in said for key, (text,) in one.items()])
    each = [None] * len(said) if rows is None else np.split(rows, len(said))
    return [_scored({key: told[key] for key in one}, one, some, why) for one, some in zip(said, each, strict=True)]


def _scored(
    told: dict[str, list[str]], said: dict[str, list[str]], meteor_each: np.ndarray | None, why: str | None
) -> Scored:
    precision, counts = _bleu(told, said)
    rouge, rouge_each = Rouge().compute_score(told, said)
    cider, cider_each = Cider().compute_score(told, said)
    whole = None if meteor_each is None else float(meteor.score(meteor_each.sum(0)))
    values = {**dict(zip(BLEU, precision, strict=True)), "ROUGE-L": float(rouge), "CIDEr": float(cider)}
    absent = {"METEOR": why} if why else {}
    return Scored(tuple(said), {**values, "METEOR": whole}, absent, counts, rouge_each, cider_each, meteor_each)


def check(
    references: References, hypotheses: Hypotheses, names: tuple[str, str] = ("the references", "the hypotheses")
) -> None:
    """UserError for ids that do not match and for empty texts, with the first such id and where it is.

    A text that says nothing is as good as empty. One such reference among others does no harm.
    """
    if not hypotheses and not references:
        raise UserError(f"{names[1]}: no texts; there is nothing to score")
    for name, side, other_name, other in (
        (names[1], hypotheses, names[0], references),
        (names[0], references, names[1], hypotheses),
    ):
        if lacking := [key for key in other if key not in side]:
            more = f" (as are {len(lacking) - 1} more)" if len(lacking) > 1 else ""
            raise UserError(f"{name}: no id {lacking[0]!r}, which is in {other_name}{more}; both need the same ids")
    for key, text in hypotheses.items():
        wanted = "(no letter or digit); give it words or take the id out of both"
        if not says_something(text):
            raise UserError(f"{names[1]}: id {key!r}: the text is empty {wanted}")
        if not all(map(str.strip, references[key])) or not any(map(says_something, references[key])):
            raise UserError(f"{names[0]}: id {key!r}: a reference is empty {wanted}")


def says_something(text: str) -> bool:
    """Whether there is a letter or a digit."""
    return any(map(str.isalnum, text))


def bleu(counts: np.ndarray) -> np.ndarray:
    """BLEU-1..4 (..., 4) of summed rows of `Scored.bleu` (..., 10), as pycocoevalcap has it on the texts together.

    A row holds the n-grams matched and the n-grams there are, n = 1..4 each, the words, and the words of the reference
    nearest in length. So a bootstrap over texts need not count again: `bleu(scored.bleu[draws].sum(1))`.
    """
    matched, grams = counts[..., :ORDER], counts[..., ORDER : 2 * ORDER]
    words, wanted = counts[..., -2], counts[..., -1]
    precision = np.cumprod((matched + 1e-15) / (grams + 1e-9), -1) ** (1 / np.arange(1, ORDER + 1))  # its own epsilons
    ratio = (words + 1e-15) / (wanted + 1e-9)
    return precision * np.exp(np.minimum(1 - 1 / ratio, 0))[..., None]


def resampled(scored: Scored, clusters: Sequence[object]) -> dict[str, np.ndarray]:
    """Scores of samples (draws,) of whole clusters (M,) of texts, by what of METRICS was measured.

    CIDEr's n-gram weights are those of all references in every sample.
    """
    columns = [scored.bleu, scored.rouge_l, scored.cider, np.ones(len(clusters))]
    columns += [] if scored.meteor is None else [scored.meteor]
    totals = cluster_sums(clusters, np.column_stack(columns))  # draws, 13 or 36
    samples = dict(zip(BLEU, bleu(totals[:, :10]).T, strict=True))
    samples |= {"ROUGE-L": totals[:, 10] / totals[:, 12], "CIDEr": totals[:, 11] / totals[:, 12]}
    return samples | ({} if scored.meteor is None else {"METEOR": meteor.score(totals[:, 13:])})


def bleu_counts(references: References, hypotheses: Hypotheses) -> np.ndarray:
    """Rows (M, 10) of `Scored.bleu` alone, in the order of the hypotheses."""
    told = {key: [tokenise(text) for text in references[key]] for key in hypotheses}
    return _bleu(told, {key: [tokenise(text)] for key, text in hypotheses.items()})[1]


def _bleu(told: dict[str, list[str]], said: dict[str, list[str]]) -> tuple[list[float], np.ndarray]:
    """BLEU-1..4 of the whole, and the counts (M, 10) of each text."""
    scorer = BleuScorer(n=ORDER)
    for key, (text,) in said.items():
        scorer += (text, told[key])
    rows = []
    for one in scorer.ctest:
        words = one["testlen"]
        _, nearest = min((abs(length - words), length) for length in one["reflen"])
        rows.append([*one["correct"], *one["guess"], words, nearest])
    return scorer.compute_score(option="closest", verbose=0)[0], np.array(rows, np.int64)


def _storable(text: str) -> str:
    """Without what cannot be written to a file or a process: lone surrogates."""
    return text.encode("utf-8", "replace").decode("utf-8")
