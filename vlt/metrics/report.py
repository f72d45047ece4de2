"""The table of written captions or reports: text metrics of several systems, with intervals and paired differences."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from vlt.metrics import clinical, text
from vlt.metrics.intervals import difference, interval

CLINICAL = "clinical F1"
METRICS = (*text.METRICS, CLINICAL)
_NOTHING = "(nothing)"  # for a text without a word, which matches no reference and which the scorers refuse


def score(
    references: Mapping[str, Sequence[str]], systems: Mapping[str, Mapping[str, str]], clusters: Mapping[str, str]
) -> dict[str, Any]:
    """Each system's texts against the references, with 95 % intervals over clusters (cases) of ids.

    Gives {"systems": {name: {metric: value, metric + "_95": [low, high]}}, "differences": {name: ...}}: the first
    system's scores less each other's, on the same samples of cases. A metric that is absent here (METEOR without Java)
    is None. CIDEr's n-gram weights are those of all references in every sample.
    """
    said = [
        {key: one[key] if text.says_something(one[key]) else _NOTHING for key in references} for one in systems.values()
    ]
    grouped = [clusters[key] for key in references]
    drawn = {
        name: _drawn(scored, clinical.counts(references, texts), grouped)
        for name, texts, scored in zip(systems, said, text.systems_scores(references, said), strict=True)
    }
    found: dict[str, Any] = {"pairs": len(references), "systems": {}, "differences": {}}
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
    scored: text.Scored, terms: np.ndarray, clusters: Sequence[str]
) -> tuple[dict[str, float | None], dict[str, np.ndarray]]:
    """The scores of one system, and of each sample of clusters (draws,), by metric. `terms` (M, 3): clinical counts."""
    f1 = clinical.ratios(*terms.sum(0).tolist())["f1"]
    samples = text.resampled(scored, clusters)
    samples[CLINICAL] = np.nan_to_num(clinical.resampled(terms, clusters)["f1"])
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
        parts = [
            f"{metric} {difference(told['less'], told['less_95'], digits=3)}"
            for metric, told in differences.items()
            if metric not in text.BLEU[:-1]
        ]
        yield f"{first} less {name}: {'; '.join(parts)}"


def _cell(told: Mapping[str, Any], metric: str) -> str:
    if told[metric] is None:
        return "absent"
    low, high = told.get(f"{metric}_95", (None, None))
    return f"{told[metric]:.3f}" + (f" [{low:.3f}, {high:.3f}]" if low is not None else "")
