"""The order in which an epoch takes rows."""

import itertools

import numpy as np
import pytest

from vlt.order import GROUP, bucketed, grouped


def chance(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("hard", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("count", [0, 1, 3, 400])
def test_every_row_comes_once_with_or_without_groups(hard, count):
    order, _ = grouped(np.arange(count) % 7, np.arange(count) // 2, hard, chance())
    assert order.dtype == np.int64 and sorted(order.tolist()) == list(range(count))


def runs(order, kind):
    """The lengths of the runs of one kind."""
    return [len(list(members)) for _, members in itertools.groupby(kind[order].tolist())]


def test_the_hard_share_comes_in_groups_of_one_kind():
    kind = chance().integers(0, 50, 4000)
    for hard in (0.0, 0.25, 0.5, 1.0):
        lengths = runs(grouped(kind, np.arange(4000), hard, chance())[0], kind)
        in_groups = sum(length for length in lengths if length >= GROUP)
        assert hard * 4000 * 0.94 - 8 < in_groups < hard * 4000 * 1.06 + 40


def test_rows_of_no_kind_are_in_no_group():
    kind = np.full(400, -1)
    orders = [grouped(kind, np.arange(400), hard, chance())[0].tolist() for hard in (0.0, 1.0)]
    assert orders[0] == orders[1]
    kind[:40] = 3
    known = np.flatnonzero(kind[grouped(kind, np.arange(400), 1.0, chance())[0]] == 3)
    assert (np.diff(known) == 1).sum() >= 30  # the forty lie in ten groups


def test_a_groups_rows_are_of_different_cases_where_the_kind_has_them():
    kind, case = np.zeros(400, np.int64), np.arange(400) // 4
    for group in grouped(kind, case, 1.0, chance())[0].reshape(-1, GROUP):
        assert len(set(case[group])) == GROUP


def arranged(unit, length, size, first=0):
    places = bucketed(np.asarray(unit), np.asarray(length), size, first, chance())
    assert sorted(places.tolist()) == list(range(len(unit)))
    return places


@pytest.mark.parametrize("count", [0, 1, 7, 64, 1000])
@pytest.mark.parametrize("first", [0, 5])
def test_bucketing_takes_every_row_once(count, first):
    arranged(np.arange(count), chance().integers(2, 80, count), 8, first)


def test_a_batch_holds_captions_of_like_length():
    length = chance().integers(2, 80, 16 * 32 * 4)
    batches = length[arranged(np.arange(len(length)), length, 32)].reshape(-1, 32)
    assert batches.max(1).sum() * 32 < 1.15 * length.sum()  # random order: about 1.9
    assert abs(np.corrcoef(batches.mean(1), np.arange(len(batches)))[0, 1]) < 0.4  # long ones do not come last


def test_the_batch_that_the_epoch_before_began_is_ended_first():
    length = chance().integers(2, 80, 640)
    places = arranged(np.arange(640), length, 32, first=12)
    batches = length[places[20 : 20 + 19 * 32]].reshape(-1, 32)
    assert batches.max(1).sum() * 32 < 1.2 * batches.sum()


def test_groups_stay_together_when_rows_are_bucketed():
    kind = chance().integers(0, 5, 4000)
    _, unit = grouped(kind, np.arange(4000), 0.5, chance())
    told = unit[arranged(unit, chance().integers(2, 80, 4000), 32)]
    split = sum(len(list(members)) < GROUP for number, members in itertools.groupby(told) if (unit == number).sum() > 1)
    assert split <= 2 * 4000 / 32  # only where a batch ends inside a group
    assert (unit == told[0]).sum() in (1, GROUP)
