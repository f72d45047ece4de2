"""The table of written captions or reports: text metrics of several systems, with intervals and paired differences."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from vlt.metrics import clinical, text
from vlt.metrics.intervals import cluster_sums, interval

CLINICAL = "clinical F1"
METRICS = (*text.METRICS, CLINICAL)
_NOTHING = "(nothing)"  # for an empty text, which matches no reference and which the scorers refuse


def score(
    references: Mapping[str, Sequence[str]], systems: Mapping[str, Mapping[str, str]], clusters: Mapping[str, str]
) -> dict[str, Any]:
    """Each system's texts against the references, with 95 % intervals over clusters (cases) of ids.

    Gives {"systems": {name: {metric: value, metric + "_95": [low, high]}}, "differences": {name: ...}}: the first
    system's scores less each other's, on the same samples of cases. A metric that is absent here (METEOR without Java)
    is None. CIDEr's n-gram weights are those of all references in every sample.
    """
    ids = list(references)
    drawn = {name: _drawn(references, said, [clusters[key] for key in ids]) for name, said in systems.items()}
    found: dict[str, Any] = {"pairs": len(ids), "systems": {}, "differences": {}}
    first = next(iter(systems))
    for name, (values, samples) in drawn.items():
        told = {metric: values[metric] for metric in METRICS}
        found["systems"][name] = told | {f"{metric}_95": interval(some) for metric, some in samples.items()}
        if name != first:
            found["differences"][name] = _less(*drawn[first], values, samples)
    return found


def _less(
    mine: Mapping[str, float | None],
    my_samples: Mapping[str, np.ndarray],
    other: Mapping[str, float | None],
    its_samples: Mapping[str, np.ndarray],
) -> dict[str, Any]:
    """Differences of what is resampled."""
    return {
        metric: {
            "less": (mine[metric] or 0.0) - (other[metric] or 0.0),
            "less_95": interval(my_samples[metric] - some),
        }
        for metric, some in its_samples.items()
    }


def _drawn(
    references: Mapping[str, Sequence[str]], said: Mapping[str, str], clusters: Sequence[str]
) -> tuple[dict[str, float | None], dict[str, np.ndarray]]:
    """The scores of one system, and of each sample of clusters (draws,), by metric; METEOR is not resampled."""
    said = {key: said[key] if said[key].strip() else _NOTHING for key in references}
    scored = text.sentence_scores(references, said)
    terms = clinical.counts(references, said)  # M, 3
    columns = np.column_stack([scored.bleu, scored.rouge_l, scored.cider, terms, np.ones(len(said))])
    totals = cluster_sums(clusters, columns)  # draws, 16
    samples = dict(zip(text.BLEU, text.bleu(totals[:, :10]).T, strict=True))
    samples |= {"ROUGE-L": totals[:, 10] / totals[:, 15], "CIDEr": totals[:, 11] / totals[:, 15]}
    agree, extra, missed = totals[:, 12:15].T
    samples[CLINICAL] = 2 * agree / np.maximum(2 * agree + extra + missed, 1)
    whole = terms.sum(0)
    f1 = clinical.ratios(*(int(count) for count in whole))["f1"]
    return {**scored.values, CLINICAL: f1 or 0.0}, samples


def render(found: Mapping[str, Any]) -> Iterator[str]:
    """The table in Markdown, and where the first system differs from the others."""
    systems = found["systems"]
    yield f"| {found['pairs']} pairs | {' | '.join(systems)} |"
    yield f"| --- |{' --- |' * len(systems)}"
    for metric in METRICS:
        yield f"| {metric} | {' | '.join(_cell(told, metric) for told in systems.values())} |"
    yield ""
    first = next(iter(systems))
    for name, differences in found["differences"].items():
        parts = []
        for metric in ("BLEU-4", "ROUGE-L", "CIDEr", CLINICAL):
            low, high = differences[metric]["less_95"]
            parts.append(f"{metric} {differences[metric]['less']:+.3f} [{low:+.3f}, {high:+.3f}]")
        yield f"{first} less {name}: {'; '.join(parts)}"


def _cell(told: Mapping[str, Any], metric: str) -> str:
    if told[metric] is None:
        return "absent"
    low, high = told.get(f"{metric}_95", (None, None))
    return f"{told[metric]:.3f}" + (f" [{low:.3f}, {high:.3f}]" if low is not None else "")
