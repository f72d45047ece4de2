import numpy as np
import pytest

from vlt.metrics.intervals import cluster_sums, difference, interval, resampled, shown


def test_sums_and_means_are_those_of_a_naive_loop():
    chance = np.random.default_rng(0)
    clusters = chance.choice(["b", "a", "c", "d"], 30).tolist()
    values = chance.normal(size=(30, 2))
    values[chance.random((30, 2)) < 0.3] = np.nan
    names = sorted(set(clusters))
    draws = np.random.default_rng(7)
    times = draws.multinomial(len(names), np.full(len(names), 1 / len(names)), size=50)
    found, sums = resampled(clusters, values, 50, 7), cluster_sums(clusters, np.nan_to_num(values), 50, 7)
    for draw, counts in enumerate(times):
        rows = [row for row, one in enumerate(clusters) for _ in range(counts[names.index(one)])]
        for column in range(2):
            picked = [values[row, column] for row in rows if not np.isnan(values[row, column])]
            assert sums[draw, column] == pytest.approx(sum(picked), abs=1e-9)
            assert found[draw, column] == pytest.approx(np.mean(picked))


def test_the_interval_covers_the_truth_nineteen_times_in_twenty_where_questions_share_images():
    chance, covered, naive, rounds = np.random.default_rng(1), 0, 0, 300
    for _ in range(rounds):
        image = np.repeat(np.arange(60), 6)
        right = (0.6 + 0.25 * chance.standard_normal(60).clip(-1.5, 1.5)[image] > chance.random(360)).astype(float)
        low, high = interval(resampled(image.tolist(), right[:, None], 400)[:, 0])
        covered += low <= 0.6 <= high
        low, high = interval(resampled(range(360), right[:, None], 400)[:, 0])  # each question for itself
        naive += low <= 0.6 <= high
    assert 0.91 <= covered / rounds <= 0.98
    assert naive / rounds < 0.89


def test_a_sample_without_a_value_of_a_group_has_none_and_the_others_count():
    values = np.array([[1.0, np.nan], [0.0, 1.0], [1.0, np.nan]])
    found = resampled(["a", "b", "c"], values, 200)
    assert 0 < np.isnan(found[:, 1]).sum() < 200 and not np.isnan(found[:, 0]).any()
    assert interval(found[:, 1]) == (1.0, 1.0)
    assert np.isnan(interval(resampled(["a", "b"], np.full((2, 1), np.nan), 9)[:, 0])).all()


def test_all_columns_are_of_the_same_samples_so_differences_are_paired():
    chance = np.random.default_rng(2)
    easy = chance.random(200)
    found = resampled([str(row // 2) for row in range(200)], np.column_stack([easy, easy - 0.1]), 300)
    assert interval(found[:, 0] - found[:, 1]) == pytest.approx((0.1, 0.1))
    low, high = interval(found[:, 0])
    assert high - low > 0.05


def test_the_same_samples_whatever_the_order_of_the_rows():
    values, names = np.arange(12.0).reshape(6, 2), ["x", "y", "x", "z", "y", "z"]
    order = [4, 1, 5, 0, 3, 2]
    shuffled = resampled([names[row] for row in order], values[order], 20)
    np.testing.assert_allclose(resampled(names, values, 20), shuffled)


def test_a_percentile_interval_is_numpys():
    samples = np.arange(101.0)
    assert interval(samples, 0.9) == pytest.approx((5.0, 95.0))


@pytest.mark.parametrize(
    ("span", "what", "told"),
    [
        ((0.1, 0.2), 1, "+0.15 [+0.10, +0.20]"),
        ((-0.2, -0.1), -1, "+0.15 [-0.20, -0.10]"),
        ((-0.1, 0.2), 0, "+0.15 [-0.10, +0.20]: no difference is shown"),
        ((0.0, 0.2), 0, "+0.15 [+0.00, +0.20]: no difference is shown"),
        ((float("nan"), float("nan")), 0, "+0.15 [+nan, +nan]: no difference is shown"),
    ],
)
def test_a_difference_is_shown_where_its_interval_does_not_hold_nought(span, what, told):
    assert shown(span) == what
    assert difference(0.15, span, digits=2) == told
