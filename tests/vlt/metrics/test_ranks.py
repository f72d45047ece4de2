from itertools import permutations
from math import comb

import numpy as np
import pytest

from vlt.metrics.ranks import Places, chance, drawn, joined, median_rank, places, recall, resample, summary


def ranks_in_every_order(scores, right):
    """Of one query: its rank in each order of the candidates that its scores allow."""
    orders = [order for order in permutations(range(len(scores))) if (np.diff(scores[list(order)]) <= 0).all()]
    return np.array([1 + next(place for place, one in enumerate(order) if right[one]) for order in orders])


def some_queries(count=12, pool=6, seed=0):
    generator = np.random.default_rng(seed)
    scores, right = generator.integers(0, 4, (count, pool)), generator.random((count, pool)) < 0.3
    right[np.arange(count), generator.integers(0, pool, count)] = True
    return scores.astype(float), right


def test_recall_is_the_mean_over_every_order_that_ties_allow():
    scores, right = some_queries()
    every = [ranks_in_every_order(*query) for query in zip(scores, right, strict=True)]
    found = places(scores, right)
    for k in range(8):
        assert found.within(k) == pytest.approx([(ranks <= k).mean() for ranks in every])
        assert recall(found, k) == pytest.approx(np.mean([(ranks <= k).mean() for ranks in every]))


def test_the_median_rank_is_that_of_all_orders_and_without_ties_the_plain_median():
    scores, right = some_queries()
    every = [np.bincount(ranks_in_every_order(*query), minlength=8) for query in zip(scores, right, strict=True)]
    reached = np.mean([np.cumsum(counts) / counts.sum() for counts in every], axis=0)
    expected = (np.argmax(reached >= 0.5 - 1e-9) + np.argmax(reached > 0.5 + 1e-9)) / 2
    assert median_rank(places(scores, right)) == expected
    for count in (1, 2, 7, 8):
        scores = np.random.default_rng(count).random((count, 9))
        own = np.arange(9) == np.arange(count)[:, None]
        plain = 1 + (scores > scores[own][:, None]).sum(1)
        assert median_rank(places(scores, own)) == np.median(plain)


def test_scores_that_are_all_equal_score_chance():
    right = np.eye(50, dtype=bool)
    told = summary(places(np.full((50, 50), 0.3), right))
    assert told == summary(chance(np.ones(50, int), 50))
    assert [told["r1"], told["r5"], told["r10"]] == pytest.approx([1 / 50, 5 / 50, 10 / 50])
    assert told["median_rank"] == 25.5


def test_chance_of_groups_is_hypergeometric():
    sizes, pool = np.array([1, 3, 7, 40]), 40
    told = summary(chance(sizes, pool))
    for k in (1, 5, 10):
        assert told[f"r{k}"] == pytest.approx(np.mean([1 - comb(pool - g, k) / comb(pool, k) for g in sizes]))
    generator = np.random.default_rng(0)
    first = [1 + min(generator.permutation(pool)[:g]) for g in sizes for _ in range(2000)]
    assert told["median_rank"] == pytest.approx(np.median(first), abs=1)


def test_a_larger_group_is_never_worse():
    scores, right = some_queries()
    own = np.zeros_like(right)
    own[np.arange(len(right)), right.argmax(1)] = True
    for k in range(7):
        assert (places(scores, right).within(k) >= places(scores, own).within(k) - 1e-12).all()


def test_a_score_that_is_no_number_is_the_worst_whoever_has_it():
    own = np.array([[True, False, False]])
    assert recall(places(np.array([[np.nan, 0.0, -1.0]]), own), 2) == 0
    assert recall(places(np.array([[-1.0, np.nan, np.nan]]), own), 1) == 1
    assert recall(places(np.array([[np.nan, 1.0, 0.0]]), np.array([[True, True, False]])), 1) == 1


def test_parts_joined_are_the_whole():
    scores, right = some_queries()
    parts = [places(scores[:5], right[:5]), places(scores[5:], right[5:])]
    assert all(map(np.array_equal, joined(parts), places(scores, right)))


def test_drawn_ranks_are_spread_as_random_orders_spread_them():
    one = Places(np.array([2]), np.array([4]), np.array([2]))  # ranks 3, 4, 5 in 3, 2, 1 of 6 orders
    many = Places(*(np.repeat(part, 6000) for part in one))
    counts = np.bincount(drawn(many, np.random.default_rng(0)), minlength=7)
    assert counts[:3].sum() == 0 and counts[6:].sum() == 0
    assert counts[3:6] == pytest.approx([3000, 2000, 1000], rel=0.06)


def test_intervals_hold_the_estimate_and_count_a_case_as_one():
    generator = np.random.default_rng(1)
    ranks = generator.integers(1, 20, 400)
    ones = np.ones(400, int)
    alone = summary(Places(ranks - 1, ones, ones), resample(np.arange(400)))
    half = np.diff(alone["r5_interval"])[0] / 2
    share = alone["r5"]
    assert half == pytest.approx(1.96 * np.sqrt(share * (1 - share) / 400), rel=0.1)
    for name in ("r1", "r5", "r10", "median_rank"):
        low, high = alone[f"{name}_interval"]
        assert low <= alone[name] <= high
    four = np.ones(1600, int)
    together = summary(Places(np.repeat(ranks, 4) - 1, four, four), resample(np.repeat(np.arange(400), 4)))
    assert together["r5_interval"] == pytest.approx(alone["r5_interval"])


def test_the_median_of_a_draw_is_that_of_the_queries_drawn():
    found = Places(np.array([0, 4, 9, 2]), *2 * [np.ones(4, int)])
    cases = resample(np.array([7, 7, 5, 6]), draws=200)
    told = summary(found, cases)
    ranks = {0: [10], 1: [3], 2: [1, 5]}  # by case, in the order of their numbers
    medians = [
        np.median([rank for case, times in enumerate(row) for rank in ranks[case] * int(times)]) for row in cases.times
    ]
    assert told["median_rank_interval"] == pytest.approx(np.quantile(medians, [0.025, 0.975]))


def test_the_order_of_queries_changes_nothing():
    scores, right = some_queries(count=40)
    case, order = np.arange(40) // 3, np.random.default_rng(2).permutation(40)
    one = summary(places(scores, right), resample(case))
    other = summary(places(scores[order], right[order]), resample(case[order]))
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert other[name] == pytest.approx(value), name
