"""Curves and intervals as a page draws them: points in the units of a small SVG, ticks, and the numbers in words."""

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

WIDTH, HEIGHT = 420, 220  # of a chart's view box
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 10, 30  # its margins
ROW = 26  # the height of one interval
NAMES = 165  # the width of an interval's name
MOST = 240  # points of a line; of more, each stretch keeps its lowest and its highest
DOTS = 40  # points of a line that are marked one by one
LISTED = 40  # rows of a chart's numbers
ALTERNATES = 6  # looks of lines, in pages/pieces.html

Points = Sequence[tuple[float, float]]  # (step, value), in the order of the steps


@dataclass(frozen=True)
class Line:
    """One line of a chart."""

    name: str
    look: int
    parts: list[str]  # the points of each unbroken stretch, as SVG's polyline takes them
    dots: list[tuple[str, str]]


@dataclass(frozen=True)
class Chart:
    """Lines over steps with their axes, their meaning in words and their numbers."""

    title: str
    told: str  # for who does not see it
    lines: list[Line]
    across: list[tuple[str, str]]  # (place, label) of each tick
    up: list[tuple[str, str]]
    level: str | None  # where a level to compare with lies, chance say
    heads: list[str]
    rows: list[list[str | None]]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Interval:
    """A value between its bounds, as a row of a figure."""

    name: str
    told: str
    low: str
    at: str
    high: str
    top: str
    set_off: bool


@dataclass(frozen=True)
class Intervals:
    """Values with their intervals, one below the other."""

    title: str
    told: str
    height: int
    rows: list[Interval]
    across: list[tuple[str, str]]
    zero: str | None


def chart(title: str, series: Mapping[str, Points], level: float | None = None, level_name: str = "") -> Chart | None:
    """A chart of the series that have points; None where none has. A `level` is drawn across, by its name.

    What is no number (NaN, infinite) breaks its line and is told.
    """
    given = {name: sorted(points) for name, points in series.items() if points}
    finite = {name: [point for point in points if math.isfinite(point[1])] for name, points in given.items()}
    if not given:
        return None
    values = [value for points in finite.values() for _, value in points] + ([] if level is None else [level])
    steps = [step for points in given.values() for step, _ in points]
    low, high = _span(values or [0.0])
    first, last = _span(steps, 0.0)
    across, up = _Scale(first, last, LEFT, WIDTH - RIGHT), _Scale(low, high, HEIGHT - BOTTOM, TOP)
    lines = [_line(name, look, given[name], across, up) for look, name in enumerate(given)]
    told = "; ".join(_told(name, points) for name, points in finite.items())
    heads, rows = _listed(given)
    notes = [note for name, points in given.items() if (note := _broken(name, points))]
    return Chart(
        title,
        f"{title} over the steps: {told}" + ("" if level is None else f"; {level_name} {number(level)}"),
        lines,
        [(f"{across(tick):.1f}", label(tick)) for tick in ticks(first, last, 5) if tick.is_integer()],
        [(f"{up(tick):.1f}", label(tick)) for tick in ticks(low, high, 5)],
        None if level is None else f"{up(level):.1f}",
        heads,
        rows,
        notes + ([] if level is None else [f"The dotted level: {level_name}, {number(level)}."]),
    )


def intervals(
    title: str, found: Mapping[str, tuple[float, float, float]], set_off: str | None = None, signed: bool = False
) -> Intervals | None:
    """(value, low, high) by name, one below the other; `signed`: differences, with a line at 0. None where none is."""
    whole = {name: one for name, one in found.items() if all(map(math.isfinite, one))}
    if not whole:
        return None
    low, high = _span([value for one in whole.values() for value in one] + ([0.0] if signed else []))
    across = _Scale(low, high, NAMES, WIDTH - RIGHT)
    shown = "{:+.1f}".format if signed else "{:.1f}".format
    rows = []
    for place, (name, (value, below, above)) in enumerate(whole.items()):
        told = f"{shown(value)} [{shown(below)}, {shown(above)}]"
        left, at, right = (f"{across(one):.1f}" for one in (below, value, above))
        rows.append(Interval(name, told, left, at, right, f"{TOP + ROW * (place + 0.5):.1f}", name == set_off))
    told = "; ".join(f"{row.name} {row.told}" for row in rows)
    height = TOP + ROW * len(rows) + BOTTOM
    labels = [(f"{across(tick):.1f}", label(tick)) for tick in ticks(low, high, 5)]
    return Intervals(title, f"{title}: {told}", height, rows, labels, f"{across(0.0):.1f}" if signed else None)


def number(value: float | None) -> str:
    """A value in few digits; words for what is none."""
    if value is None or math.isnan(value):
        return "no number"
    if math.isinf(value):
        return "infinite"
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value):,}"
    return f"{value:.4g}" if 1e-3 <= abs(value) < 1e6 else f"{value:.2e}"


def label(tick: float) -> str:
    """A round value in as few letters as it takes beside an axis."""
    if tick and not 1e-4 <= abs(tick) < 1e6:
        return f"{tick:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{tick:,.6f}".rstrip("0").rstrip(".")


def thinned(points: Points, most: int = MOST) -> list[tuple[float, float]]:
    """At most so many of the points, finite ones: of each stretch of equal length the lowest and the highest."""
    if len(points) <= most:
        return list(points)
    stretches = most // 2
    bounds = [round(place * len(points) / stretches) for place in range(stretches + 1)]
    kept = []
    for begin, end in pairwise(bounds):
        stretch = points[begin:end]
        kept += sorted({min(stretch, key=lambda one: one[1]), max(stretch, key=lambda one: one[1])})
    return kept


def ticks(low: float, high: float, about: int) -> list[float]:
    """Some round values from low to high: multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= rough * 0.999)
    begin = math.ceil(low / step - 1e-9)
    return [place * step for place in range(begin, math.floor(high / step + 1e-9) + 1)]


class _Scale:
    """From values to places of the drawing."""

    def __init__(self, low: float, high: float, begin: float, end: float):
        self.low, self.high, self.size, self.begin, self.length = low, high, high - low, begin, end - begin

    def __call__(self, value: float) -> float:
        value = min(max(value, self.low), self.high)
        return self.begin + (value - self.low) / self.size * self.length


def _span(values: Iterable[float], room: float = 0.05) -> tuple[float, float]:
    """The least and the greatest, with a share of room about them, and never equal."""
    some = [min(max(value, -1e150), 1e150) for value in values]
    low, high = min(some), max(some)
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-9):
        width = abs(low) * 0.1 or 0.5
        return low - width, high + width
    return low - room * (high - low), high + room * (high - low)


def _line(name: str, look: int, points: Points, across: _Scale, up: _Scale) -> Line:
    finite = [point for point in points if math.isfinite(point[1])]
    broken = [step for step, value in points if not math.isfinite(value)]
    kept = thinned(finite)
    parts: list[list[str]] = []
    before: int | None = None
    for step, value in kept:
        gaps = bisect_right(broken, step)
        if gaps != before:
            parts.append([])
        parts[-1].append(f"{across(step):.1f},{up(value):.1f}")
        before = gaps
    dots = [(f"{across(step):.1f}", f"{up(value):.1f}") for step, value in kept] if len(kept) <= DOTS else []
    return Line(name, look % ALTERNATES, [" ".join(part) for part in parts], dots)


def _told(name: str, finite: Points) -> str:
    if not finite:
        return f"{name}: no numbers"
    (first, begin), (last, end) = finite[0], finite[-1]
    least, most = (number(choose(value for _, value in finite)) for choose in (min, max))
    return (
        f"{name} from {number(begin)} at step {number(first)} to {number(end)} at step {number(last)}, "
        f"between {least} and {most}"
    )


def _broken(name: str, points: Points) -> str | None:
    """A line about values that are no numbers."""
    odd = [step for step, value in points if not math.isfinite(value)]
    if not odd:
        return None
    return (
        f"{name}: {len(odd):,} of {len(points):,} values are no numbers (NaN or infinite), the first at step {odd[0]:g}"
    )


def _listed(given: Mapping[str, Points]) -> tuple[list[str], list[list[str | None]]]:
    """The numbers by step, evenly thinned, the first and the last kept."""
    by_name = {name: dict(points) for name, points in given.items()}
    steps = sorted({step for points in given.values() for step, _ in points})
    if len(steps) > LISTED:
        steps = [steps[round(place * (len(steps) - 1) / (LISTED - 1))] for place in range(LISTED)]
    rows = [[number(step), *(_cell(points, step) for points in by_name.values())] for step in steps]
    return ["step", *given], rows


def _cell(points: Mapping[float, float], step: float) -> str | None:
    return number(points[step]) if step in points else None
