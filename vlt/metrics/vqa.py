"""The table of a question set: what systems answered, by kind of question, with intervals, ceiling and differences."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlt.metrics.answers import exact, token_f1
from vlt.metrics.intervals import difference, interval, resampled

OVERALL = "overall"


@dataclass(frozen=True)
class Asked:
    """A question as it is scored."""

    image: str
    right: tuple[str, ...]  # `answers.accepted`
    groups: tuple[str, ...]  # of questions: "closed", "type: plane", "organ: head", ...


def score(asked: Sequence[Asked], said: Mapping[str, Sequence[str]], known: Sequence[str] = ()) -> dict[str, Any]:
    """Exact match and token F1 of each system's answers, in each group, with 95 % intervals by image.

    `said`: system: its answers, in the order of `asked`. Each group also tells how many questions and images it has
    and its `ceiling`, the share of questions whose answer is one of `known`. `differences`: the first system's exact
    match less each other's, paired: on the same questions in the same samples of images.
    """
    groups = [OVERALL, *sorted({name for one in asked for name in one.groups}, key=_order)]
    member = np.array([[name == OVERALL or name in one.groups for name in groups] for one in asked])  # N, G
    values = np.array(
        [
            [[exact(text, one.right), token_f1(text, one.right)] for one, text in zip(asked, answers, strict=True)]
            for answers in said.values()
        ],
        float,
    )  # S, N, 2
    spread = np.where(member[:, :, None, None], values.transpose(1, 0, 2)[:, None], np.nan)  # N, G, S, 2
    means = resampled([one.image for one in asked], spread)  # draws, G, S, 2
    reachable = np.array([bool(set(one.right) & set(known)) for one in asked])
    found = {}
    for place, name in enumerate(groups):
        here = member[:, place]
        found[name] = {
            "questions": int(here.sum()),
            "images": len({one.image for one, inside in zip(asked, here, strict=True) if inside}),
            "ceiling": float(reachable[here].mean()) if known else None,
            "systems": {
                system: _told(values[which, here], means[:, place, which]) for which, system in enumerate(said)
            },
            "differences": {
                system: _difference(values[:, here, 0], means[:, place, :, 0], which)
                for which, system in enumerate(said)
                if which
            },
        }
    return found


def _order(name: str) -> tuple[int, str]:
    return ({"closed": 0, "open": 1}.get(name, 2), name)


def _told(values: np.ndarray, means: np.ndarray) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for column, metric in enumerate(("exact", "f1")):
        told[metric] = float(values[:, column].mean())
        told[f"{metric}_95"] = interval(means[:, column])
    return told


def _difference(values: np.ndarray, means: np.ndarray, other: int) -> dict[str, Any]:
    less = float(values[0].mean() - values[other].mean())
    return {"exact": less, "exact_95": interval(means[:, 0] - means[:, other])}


def render(found: Mapping[str, Any]) -> Iterator[str]:
    """The table in Markdown: exact match in per cent with its interval, token F1 behind it; then the differences."""
    systems = list(found[OVERALL]["systems"])
    yield f"| questions | n | images | ceiling | {' | '.join(systems)} |"
    yield f"| --- | --- | --- | --- |{' --- |' * len(systems)}"
    for name, group in found.items():
        cells = [_cell(group["systems"][system]) for system in systems]
        ceiling = "-" if group["ceiling"] is None else f"{100 * group['ceiling']:.1f}"
        yield f"| {name} | {group['questions']} | {group['images']} | {ceiling} | {' | '.join(cells)} |"
    yield ""
    for system, told in found[OVERALL]["differences"].items():
        percent = [100 * value for value in told["exact_95"]]
        yield f"{systems[0]} less {system}: {difference(100 * told['exact'], percent, digits=1)}"


def _cell(told: Mapping[str, Any]) -> str:
    low, high = told["exact_95"]
    return f"{100 * told['exact']:.1f} [{100 * low:.1f}, {100 * high:.1f}], F1 {100 * told['f1']:.1f}"


def confusion(truth: Sequence[str], said: Sequence[str], most: int = 20) -> list[list[Any]]:
    """Rows of counts: the `most` frequent true answers (and the rest) against what was answered."""
    names, counts = np.unique(np.array(truth, dtype=object).astype(str), return_counts=True)
    kept = [str(name) for name in names[np.argsort(-counts, kind="stable")][:most]]
    place = {name: number for number, name in enumerate(kept)}
    table = np.zeros((len(kept) + 1, len(kept) + 1), int)
    for one, other in zip(truth, said, strict=True):
        table[place.get(one, len(kept)), place.get(other, len(kept))] += 1
    header = [*kept, "other"]
    return [["truth", *header], *([name, *row.tolist()] for name, row in zip(header, table, strict=True))]
