"""The order in which an epoch takes rows: random, with groups of one kind, captions of like length together.

A batch is padded to its longest caption. In random order more than half of a batch's tokens are padding (sample: 31
tokens a row for 14 that are there), and words are most of a small model's work.
"""

import numpy as np

GROUP = 4  # rows of one kind that a hard group holds
POOL = 16  # batches whose rows are sorted by length among each other


def grouped(
    kind: np.ndarray, case: np.ndarray, hard: float, chance: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Every row once, in random order, a share `hard` of them in groups of GROUP rows of one kind, side by side.

    A group's rows are of different cases where the kind has enough of them. Gives the rows and, beside each, a number
    that it shares with its group alone.
    """
    rows = chance.permutation(len(kind))
    turn = _earlier(case[rows])  # of a kind come each case's first row, then its second, ...
    rows = rows[np.lexsort((turn, kind[rows]))]
    place = _earlier(kind[rows])
    _, which, counts = np.unique(kind[rows], return_inverse=True, return_counts=True)
    begins = (place % GROUP == 0) & (place + GROUP <= counts[which]) & (kind[rows] >= 0)
    begins = chance.permutation(np.flatnonzero(begins))[: round(len(rows) * hard / GROUP)]
    unit = np.arange(len(rows))  # what stays side by side: a group, or one row
    unit[begins[:, None] + np.arange(GROUP)] = begins[:, None]
    order = np.argsort(chance.permutation(len(rows))[unit], kind="stable")
    return rows[order], unit[order]


def _earlier(values: np.ndarray) -> np.ndarray:
    """How many equal values stand before each value."""
    order = np.argsort(values, kind="stable")
    _, first, counts = np.unique(values[order], return_index=True, return_counts=True)
    found = np.empty(len(values), np.int64)
    found[order] = np.arange(len(values)) - np.repeat(first, counts)
    return found


def bucketed(unit: np.ndarray, length: np.ndarray, size: int, first: int, chance: np.random.Generator) -> np.ndarray:
    """Places in an order, so arranged that batches of `size` hold captions of like length; equal units stay together.

    unit, length (M,): of the rows in their order. `first`: how many rows of a batch the epoch before has begun.
    """
    place = np.arange(len(unit))
    begins = np.flatnonzero(np.diff(unit, prepend=-1))
    own = np.repeat(begins, np.diff(begins, append=len(unit)))  # where each row's unit begins
    longest = np.repeat(np.maximum.reduceat(length, begins), np.diff(begins, append=len(unit)))
    order = np.lexsort((place, longest, own // (size * POOL)))
    lead = min(-first % size, len(order))
    whole = (len(order) - lead) // size
    last = lead + whole * size
    batches = chance.permutation(order[lead:last].reshape(whole, size))
    return np.concatenate([order[:lead], batches.ravel(), order[last:]])
