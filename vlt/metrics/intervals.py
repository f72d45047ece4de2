"""Bootstrap intervals over clusters: questions of one image, pairs of one case."""

from collections.abc import Sequence

import numpy as np

DRAWS = 2000


def samples(clusters: int, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """How often each of some clusters stands in each sample with replacement: int64 (draws, clusters)."""
    return np.random.default_rng(seed).multinomial(clusters, np.full(clusters, 1 / clusters), size=draws)


def cluster_sums(clusters: Sequence[object], values: np.ndarray, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Sums of values (N, K) in samples of whole clusters with replacement -> (draws, K).

    `clusters` (N,): what each row belongs to. All columns are of the same samples, so that differences of what is made
    of them are paired. Davison and Hinkley (1997), 3.8.
    """
    names = {name: place for place, name in enumerate(sorted(set(map(str, clusters))))}
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, [names[str(one)] for one in clusters], values)
    return samples(len(sums), draws, seed).astype(float) @ sums


def resampled(clusters: Sequence[object], values: np.ndarray, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Means of values (N, ...) in samples of whole clusters -> (draws, ...); NaN where a sample has no value.

    Values that are NaN are left out of their mean, so that the groups of a table are columns of the same samples.
    """
    columns = values.reshape(len(values), -1)
    known = ~np.isnan(columns)
    sums = cluster_sums(clusters, np.hstack([np.where(known, columns, 0.0), known]), draws, seed)
    with np.errstate(invalid="ignore"):
        means = sums[:, : columns.shape[1]] / sums[:, columns.shape[1] :]
    return means.reshape(draws, *values.shape[1:])


def interval(samples: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """The percentile interval of a resampled score (draws,); NaN where there is none."""
    if np.isnan(samples).all():
        return float("nan"), float("nan")
    low, high = np.nanquantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def shown(low_high: Sequence[float]) -> int:
    """What the interval of a difference shows: 1 that it is above 0, -1 below; 0, where it holds 0, neither."""
    low, high = low_high
    return 1 if low > 0 else -1 if high < 0 else 0


def difference(value: float, low_high: Sequence[float], digits: int) -> str:
    """A difference in words: with its interval, and that none is shown where the interval holds 0."""
    told, low, high = (f"{number:+.{digits}f}" for number in (value, *low_high))
    return f"{told} [{low}, {high}]" + ("" if shown(low_high) else ": no difference is shown")
