"""Find the images that may be the same by their perceptual hashes, and group what turned out to be the same."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from math import comb

import numpy as np

from corpus_db.alike import Match, Prepared, compare, prepare
from corpus_db.phash import Signature, signature

__all__ = [
    "ALGORITHM",
    "RADIUS",
    "Match",
    "Prepared",
    "Signature",
    "candidates",
    "clusters",
    "compare",
    "prepare",
    "signature",
]

ALGORITHM = 1  # raised whenever a hash or a verdict changes: what was stored under another number is redone
RADIUS = 8  # bits of 64
_BATCH = 2**22  # pairs that are held at a time
_BITS = 64


def candidates(hashes: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Every pair i < j, in order, where the whole of one is within RADIUS bits of the whole or a crop of the other.

    `hashes`: what `signature` gives as `phash`: 16 hex digits for the whole image, then 16 a crop. The search is
    multi-index hashing (Norouzi, Punjani, Fleet, 2012, "Fast Search in Hamming Space with Multi-Index Hashing"): where
    64 bits are cut into parts whose radii + 1 sum to RADIUS + 1, two near hashes agree within the radius of some part.
    An output of k equal hashes is k * (k - 1) / 2 pairs: give one image of each `pixel_sha256`.
    """
    if len(hashes) < 2:
        return
    table = np.frombuffer(bytes.fromhex("".join(hashes)), ">u8").astype(np.uint64).reshape(len(hashes), -1)
    wholes, entries, per_image = table[:, 0], table.ravel(), table.shape[1]
    found = [
        np.unique(_within(wholes, entries, per_image, shift, width, radius))
        for shift, width, radius in _plan(len(wholes), len(entries))
    ]
    for code in np.unique(np.concatenate(found)):
        yield divmod(int(code), len(hashes))


def _parts(count: int) -> list[tuple[int, int, int]]:
    """The 64 bits in `count` parts: (shift, width, radius)."""
    edges = [_BITS * part // count for part in range(count + 1)]
    radii = [(RADIUS + 1 + part) // count - 1 for part in range(count)]
    return [(low, high - low, radius) for low, high, radius in zip(edges, edges[1:], radii, strict=False)]


def _probes(width: int, radius: int) -> int:
    return sum(comb(width, flipped) for flipped in range(radius + 1))


def _plan(queries: int, entries: int) -> list[tuple[int, int, int]]:
    """The cut whose look-ups and comparisons cost least: wide parts have small buckets and many neighbours."""

    def cost(parts: list[tuple[int, int, int]]) -> float:
        return sum(_probes(width, radius) * (1 + 2 * entries / 2**width) for _, width, radius in parts) * queries

    return min((_parts(count) for count in range(3, 9)), key=cost)


def _within(wholes: np.ndarray, entries: np.ndarray, per_image: int, shift: int, width: int, radius: int) -> np.ndarray:
    """The codes i * images + j (i < j) of the pairs within RADIUS that agree within `radius` on one part."""
    mask = np.uint64(2**width - 1)
    keys = ((entries >> np.uint64(shift)) & mask).astype(np.int64)
    order = np.argsort(keys, kind="stable")
    starts = np.concatenate(([0], np.cumsum(np.bincount(keys, minlength=2**width))))
    asked = ((wholes >> np.uint64(shift)) & mask).astype(np.int64)
    codes = [np.empty(0, np.int64)]
    for flipped in range(radius + 1):
        for bits in combinations(range(width), flipped):
            near = asked ^ sum(1 << bit for bit in bits)
            first, counts = starts[near], starts[near + 1] - starts[near]
            for low, high in _batches(counts):
                some = counts[low:high]
                query = np.repeat(np.arange(low, high), some)
                entry = order[np.arange(len(query)) + np.repeat(first[low:high] - np.cumsum(some) + some, some)]
                close = np.bitwise_count(wholes[query] ^ entries[entry]) <= RADIUS
                one, other = query[close], entry[close] // per_image
                codes.append((np.minimum(one, other) * len(wholes) + np.maximum(one, other))[one != other])
    return np.concatenate(codes)


def _batches(counts: np.ndarray) -> Iterator[tuple[int, int]]:
    """Ranges of queries with about _BATCH entries to compare each."""
    total = np.cumsum(counts)
    low = 0
    while low < len(counts) and total[-1] > (total[low - 1] if low else 0):
        base = total[low - 1] if low else 0
        high = max(low + 1, int(np.searchsorted(total, base + _BATCH, side="right")))
        yield low, high
        low = high


def clusters(count: int, edges: Iterable[tuple[int, int]]) -> list[int]:
    """For each of `count` things the smallest index of those it is joined to by `edges`, itself included."""
    parent = list(range(count))

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = item = parent[parent[item]]
        return item

    for one, other in edges:
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    return [root(item) for item in range(count)]
