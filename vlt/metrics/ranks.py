"""Recall at k and the median rank of queries that rank one pool, ties in random order; chance; bootstrap intervals.

A query's rank is that of the first right candidate. Candidates of equal scores stand in random order, and what is given
is exact over all such orders: a model that scores everything alike gets what chance gets, neither 0 nor 1.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from vlt.metrics.intervals import interval, samples

KS = (1, 5, 10)
DRAWS = 1000  # of a bootstrap
AT_ONCE = 100  # draws whose medians are taken together: they need 4 bytes a draw and query


class Places(NamedTuple):
    """Where Q queries find the first right candidate; int64 (Q,) each."""

    better: np.ndarray  # candidates that score above the best right one
    tied: np.ndarray  # candidates that score as it does, itself among them
    right: np.ndarray  # the right ones among the tied

    def within(self, k: int | np.ndarray) -> np.ndarray:
        """The probability (Q,) that a right candidate is among the first k, one k for all or one each (Q,).

        1 - C(t - g, m) / C(t, m), of t tied ones g are right and m = k - better still fit: hypergeometric.
        """
        log = _log_factorials(int(self.tied.max(initial=0)))
        fits = np.clip(k - self.better, 0, self.tied)
        wrong = self.tied - self.right
        left = np.maximum(wrong - fits, 0)
        missed = np.exp(log[wrong] - log[left] - log[self.tied] + log[self.tied - fits])
        return np.where(fits > wrong, 1.0, 1.0 - missed)


@lru_cache(maxsize=4)
def _log_factorials(highest: int) -> np.ndarray:
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, highest + 1)))])


def places(scores: np.ndarray, right: np.ndarray) -> Places:
    """Of scores (Q, N), higher is better, NaN the worst, and right (Q, N) bool with one True or more a row."""
    if np.isnan(scores.max()):
        scores = np.where(np.isnan(scores), -np.inf, scores)
    best = scores.max(1, keepdims=True, where=right, initial=-np.inf)
    tied = scores == best
    return Places((scores > best).sum(1), tied.sum(1), (tied & right).sum(1))


def joined(parts: Sequence[Places]) -> Places:
    """Of the queries of all parts, one behind the other."""
    return Places(*map(np.concatenate, zip(*parts, strict=True)))


def chance(right: np.ndarray, pool: int) -> Places:
    """A random order of `pool` candidates, `right` (Q,) of them right for each query: all are tied.

    R@k is then 1 - C(N - g, k) / C(N, k), for g = 1: k / N.
    """
    return Places(np.zeros_like(right), np.full_like(right, pool), right)


def recall(found: Places, k: int) -> float:
    """The share of queries with a right candidate among the first k."""
    return float(found.within(k).mean())


def median_rank(found: Places) -> float:
    """The rank by which half of the queries have found a right candidate; without ties, the median of their ranks."""
    last = int((found.better + found.tied).max())

    def least(share: float) -> int:
        low, high = 0, last  # by the first it is not reached, by the second it is
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if found.within(middle).mean() >= share else (middle, high)
        return high

    return (least(0.5 - 1e-9) + least(0.5 + 1e-9)) / 2  # of an even number the mean of the middle two


def drawn(found: Places, generator: np.random.Generator) -> np.ndarray:
    """A rank (Q,) of each query, its ties put in an order at random."""
    share = 1 - generator.random(len(found.better))  # above 0
    low, high = found.better.copy(), found.better + found.tied
    while (high - low > 1).any():
        middle = (low + high) // 2
        reached = found.within(middle) >= share
        low, high = np.where(reached, low, middle), np.where(reached, middle, high)
    return high


class Resampled(NamedTuple):
    """Cases drawn with replacement, each with all its queries: a cluster bootstrap (Davison and Hinkley 1997, 3.8)."""

    case: np.ndarray  # int64 (Q,): of each query, from 0
    times: np.ndarray  # float32 (draws, C): how often each case was drawn


def resample(case: np.ndarray, draws: int = DRAWS, seed: int = 0) -> Resampled:
    """Draws over the cases of queries, case (Q,): equal values, same case."""
    _, case = np.unique(case, return_inverse=True)
    return Resampled(case, samples(int(case.max()) + 1, draws, seed).astype(np.float32))


def summary(found: Places, cases: Resampled | None = None, ks: Sequence[int] = KS) -> dict[str, float | list[float]]:
    """{"r1": 0.2, ..., "median_rank": 7.0}; of resampled cases also "r1_interval": [low, high] and so on, of 95 %.

    The pool stays as it is in every draw: what is drawn is who asks, not what they search.
    """
    told: dict[str, float | list[float]] = {f"r{k}": recall(found, k) for k in ks}
    told["median_rank"] = median_rank(found)
    if cases is None:
        return told
    sizes = np.bincount(cases.case)
    for k in ks:
        hits = np.bincount(cases.case, weights=found.within(k))
        told[f"r{k}_interval"] = list(interval((cases.times @ hits) / (cases.times @ sizes)))
    told["median_rank_interval"] = list(interval(_medians(found, cases)))
    return told


def _medians(found: Places, cases: Resampled) -> np.ndarray:
    """The median rank of each draw (draws,)."""
    order = np.lexsort((*found, cases.case))  # so that the order of the queries decides nothing
    found, case = Places(*(part[order] for part in found)), cases.case[order]
    ranks = drawn(found, np.random.default_rng(0))
    order = np.argsort(ranks, kind="stable")
    ranks, case = ranks[order], case[order]
    medians = []
    for first in range(0, len(cases.times), AT_ONCE):
        passed = cases.times[first : first + AT_ONCE, case].cumsum(1)  # queries up to each rank
        whole = passed[:, -1:]
        middle = [(passed * 2 < whole).sum(1), (passed * 2 <= whole).sum(1)]
        medians.append(ranks[np.array(middle)].mean(0))
    return np.concatenate(medians)
