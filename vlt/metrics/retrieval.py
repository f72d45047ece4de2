"""The table of a retrieval result: recall and median rank by direction, counting and method; chance and cost."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from vlt.metrics.ranks import KS

DIRECTIONS = {"image_to_text": "image to text", "text_to_image": "text to image"}
METHODS = {"itc": "ITC", "rerank": "ITC, top {k} by ITM", "exact": "ITM of all"}
COUNTINGS = ("strict", "grouped")


def render(result: dict[str, Any]) -> Iterator[str]:
    """A result of `vlt.tasks.retrieval.evaluate` as lines: what was asked, an aligned table, the cost."""
    yield (
        f"retrieval, {result['split']} split, {'fine-tuned' if result['tuned'] else 'zero-shot'}: a pool of "
        f"{result['pool']:,} pairs of {result['cases']:,} cases, {result['images']:,} distinct images, "
        f"{result['captions']:,} distinct captions"
    )
    yield "strict: only the pair's own counts, a copy of it does not; grouped: so does that of any pair that shares"
    yield "caption, image or duplicate cluster. Recall in %, 95 % intervals over cases; ties in random order."
    yield ""
    rows = [("", "", "", *(f"R@{k}" for k in KS), "median rank"), *_rows(result)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    yield ""
    yield from result["left_out"]
    yield from _cost(result)


def _rows(result: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for way, title in DIRECTIONS.items():
        for counting in COUNTINGS:
            for method, name in METHODS.items():
                if method in result["scores"][way]:
                    cells = _cells(result["scores"][way][method][counting])
                    yield title, counting, name.format(k=result["k"]), *cells
            yield title, counting, "chance", *_cells(result["chance"][counting])


def _cells(scores: dict[str, Any]) -> Iterator[str]:
    percent: Callable[[float], str] = "{:.2f}".format
    for k in KS:
        low_high = scores.get(f"r{k}_interval")
        span = f" [{', '.join(percent(100 * value) for value in low_high)}]" if low_high else ""
        yield percent(100 * scores[f"r{k}"]) + span
    yield median_rank(scores)


def median_rank(scores: Mapping[str, Any]) -> str:
    """The median rank with its interval, where it has one, to a tenth of a rank."""
    value, *bounds = (
        f"{rank:,.1f}".removesuffix(".0")
        for rank in (scores["median_rank"], *(scores.get("median_rank_interval") or ()))
    )
    return f"{value} [{', '.join(bounds)}]" if bounds else value


def _cost(result: dict[str, Any]) -> Iterator[str]:
    cost, every = result["cost"], result["images"] * result["captions"]
    seconds = cost["seconds"]
    yield (
        f"cost: {cost['images']:,} images encoded in {seconds['images']:.1f} s, {cost['texts']:,} captions in "
        f"{seconds['texts']:.1f} s, kept in {result['bytes'] / 2**20:,.0f} MiB"
    )
    if "search" in seconds:
        yield f"      one matrix product: {seconds['search']:.2f} s"
    for stage, crosses in cost["crosses"].items():
        of_all = f" of {every:,} that exact takes" if stage == "rerank" else ""
        yield f"      {stage}: {crosses:,} cross-encodings{of_all}, {seconds[stage]:.1f} s"
