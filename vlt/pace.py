"""How fast a run learned, by its records of training: each tells the pace of the steps since the one before it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any


def seconds(records: Iterable[Mapping[str, Any]], batch_size: int) -> float:
    """What the steps took, without evaluations."""
    return sum(spent for _, spent in _spent(records, batch_size))


def images_per_s(records: Iterable[Mapping[str, Any]], batch_size: int) -> float | None:
    """Images a second over all steps, without evaluations; None where none was measured."""
    parts = list(_spent(records, batch_size))
    spent = sum(spent for _, spent in parts)
    return sum(images for images, _ in parts) / spent if spent > 0 else None


def _spent(records: Iterable[Mapping[str, Any]], batch_size: int) -> Iterator[tuple[int, float]]:
    """Images and seconds of each record whose pace is known."""
    before = 0
    for record in records:
        pace, images = record.get("images_per_s", 0.0), (record["step"] - before) * batch_size
        if pace > 0 and images > 0:
            yield images, images / pace
        before = record["step"]
