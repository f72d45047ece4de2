"""What came out of a study: a Markdown and a CSV table, a plot, arms compared in pairs on the same questions."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from corpus_db.read import UserError, written
from vlt.metrics.intervals import interval, samples, shown
from vlt.studies import Study

SCORES = ("gap", "hard_gap", "itm", "itm_hard")  # of pre-training, shown beside
CELL = {"arm", "seed", "pretrain", "tune", "right", "images", "closed", "accuracy"}


def cells(folder: Path) -> list[dict[str, Any]]:
    """What was measured so far; UserError for a cell that cannot be read."""
    found = []
    for path in sorted((folder / "cells").glob("*.json")):
        try:
            found.append(json.loads(path.read_text()))
            _check(found[-1])
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(f"{path}: cannot be read ({error}); remove it and run the study again") from error
    return found


def _check(cell: dict[str, Any]) -> None:
    """ValueError and the like where a cell is not as a study writes it."""
    if missing := sorted(CELL - set(cell)):
        raise ValueError(f"no {missing[0]}")
    lists = {name: cell[name] for name in ("right", "images", "closed")}
    if len({len(one) for one in lists.values()}) != 1 or not cell["right"]:
        told = ", ".join(f"{len(one)} of {name}" for name, one in lists.items())
        raise ValueError(f"not as many of each: {told}")
    if {*cell["right"], *cell["closed"]} - {0, 1} or not all(isinstance(one, str) for one in cell["images"]):
        raise ValueError("right, closed or images hold something else")
    numbers = [cell["seed"], cell["accuracy"], *(cell["tune"][name] for name in ("steps", "seconds"))]
    if (before := cell["pretrain"]) is not None:
        numbers += [before[name] for name in ("steps", "seconds", "flops")]
        numbers += [before["scores"].get(name, 0) for name in SCORES]
    if not all(isinstance(one, int | float) for one in numbers):
        raise ValueError("seed, accuracy, steps, seconds or flops is no number")


def aggregate(study: Study, found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Arm: accuracy over its seeds, its interval, and its difference to the baseline arm with its interval.

    Intervals of 95 % are of samples of images and, apart from them, of seeds, each with replacement. A difference is of
    the seeds that both arms have, on the same samples, so that it is paired.
    """
    if odd := [cell for cell in found if cell["images"] != found[0]["images"]]:
        raise UserError(
            f"arm {odd[0]['arm']}, seed {odd[0]['seed']}: tested on different questions than arm {found[0]['arm']}, "
            f"seed {found[0]['seed']}; run the study anew"
        )
    by_arm = {name: [cell for cell in found if cell["arm"] == name] for name in study.arms}
    by_arm = {name: sorted(some, key=lambda cell: cell["seed"]) for name, some in by_arm.items() if some}
    base = by_arm.get(study.baseline, [])
    result: dict[str, Any] = {}
    for name, some in by_arm.items():
        accuracies = [cell["accuracy"] for cell in some]
        result[name] = {
            "seeds": [cell["seed"] for cell in some],
            "accuracy": float(np.mean(accuracies)),
            "sd": float(np.std(accuracies, ddof=1)) if len(some) > 1 else None,
            "accuracy_95": interval(_samples(some)),
            **{name: some[0][name] for name in ("frequent", "ceiling") if name in some[0]},
            **_parts(some),
            **_took(some),
        }
        if name != study.baseline:
            result[name] |= _difference(some, base)
    return result


def _difference(some: Sequence[Mapping[str, Any]], base: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What an arm has more than another, by the seeds that both have; empty where there is none."""
    seeds = {cell["seed"] for cell in some} & {cell["seed"] for cell in base}
    if not seeds:
        return {}
    mine, other = ([cell for cell in cells if cell["seed"] in seeds] for cells in (some, base))
    means = [np.mean([cell["accuracy"] for cell in cells]) for cells in (mine, other)]
    told = {"difference": float(means[0] - means[1]), "difference_95": interval(_samples(mine) - _samples(other))}
    return told | {"difference_seeds": sorted(seeds)}


def _samples(some: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """The accuracy of an arm in samples of images and of its seeds (draws,)."""
    images = some[0]["images"]
    place = {name: number for number, name in enumerate(sorted(set(images)))}
    member = [place[name] for name in images]
    right = np.zeros((len(place), len(some)))
    np.add.at(right, member, np.array([cell["right"] for cell in some], float).T)
    asked = np.bincount(member, minlength=len(place))
    times, seeds = samples(len(place)).astype(float), samples(len(some), seed=1) / len(some)
    return ((times @ right) / (times @ asked)[:, None] * seeds).sum(1)


def _parts(some: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Accuracy on closed and on open questions."""
    right, closed = (np.array([cell[name] for cell in some], float) for name in ("right", "closed"))
    parts = {"closed": closed == 1, "open": closed == 0}
    return {name: float(right[here].mean()) for name, here in parts.items() if here.any()}


def _took(some: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Steps, operations and minutes, and what pre-training itself scored, means over seeds."""
    first = [cell["pretrain"] for cell in some if cell["pretrain"]]
    told: dict[str, Any] = {
        "tune_steps": float(np.mean([cell["tune"]["steps"] for cell in some])),
        "tune_minutes": float(np.mean([cell["tune"]["seconds"] for cell in some])) / 60,
    }
    if first:
        told["pretrain_steps"] = float(np.mean([one["steps"] for one in first]))
        told["pretrain_minutes"] = float(np.mean([one["seconds"] for one in first])) / 60
        told["pretrain_petaflops"] = float(np.mean([one["flops"] * one["steps"] for one in first])) / 1e15
        for name in SCORES:
            if values := [one["scores"][name] for one in first if name in one["scores"]]:
                told[name] = float(np.mean(values))
    return told


def render(study: Study, data: str, result: Mapping[str, Any], quick: bool) -> Iterator[str]:
    """The study as Markdown."""
    yield f"### {study.title}"
    yield ""
    if quick:
        yield "**A smoke test: too few cases and steps to be evidence of anything.**"
        yield ""
    yield f"On {data}. The paper: {study.paper}"
    yield ""
    yield (
        "| arm | exact match, mean over seeds | sd | closed | open | less " + study.baseline + " | pre-training | gap |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for name, arm in result.items():
        yield f"| {name} | " + " | ".join(_cells(arm)) + " |"
    yield ""
    one = next(iter(result.values()))
    if "frequent" in one:
        yield f"Most frequent answer of each type: {100 * one['frequent']:.1f}; ceiling: {100 * one['ceiling']:.1f}."
        yield ""
    yield from (f"- {told}" for _, told in verdicts(study, result))


def _cells(arm: Mapping[str, Any]) -> Iterator[str]:
    low, high = arm["accuracy_95"]
    yield f"{100 * arm['accuracy']:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
    yield "-" if arm["sd"] is None else f"{100 * arm['sd']:.1f}"
    for part in ("closed", "open"):
        yield f"{100 * arm[part]:.1f}" if part in arm else "-"
    if "difference" in arm:
        low, high = arm["difference_95"]
        yield f"{100 * arm['difference']:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
    else:
        yield "-"
    took = f"; then {arm['tune_steps']:.0f} of fine-tuning"
    if "pretrain_steps" in arm:
        steps, minutes = arm["pretrain_steps"], arm["pretrain_minutes"]
        yield f"{steps:.0f} steps, {arm['pretrain_petaflops']:.2g} PFLOP, {minutes:.1f} min" + took
    else:
        yield "none" + took
    yield f"{arm['gap']:.3f}" if "gap" in arm else "-"


def verdicts(study: Study, result: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    """Of each arm, whether it is better (1) or worse (-1) than the baseline or not shown to differ (0), in words."""
    for name, arm in result.items():
        if name == study.baseline:
            continue
        seeds = arm.get("difference_seeds", [])
        if len(seeds) < 2:
            shared = "one seed" if seeds else "no seed"
            yield 0, f"{name} and {study.baseline} have {shared} in common: too few for a verdict."
            continue
        way = shown(arm["difference_95"])
        how = ("not shown to differ from", "better than", "worse than")[way]
        yield way, f"{name} is {how} {study.baseline} ({len(seeds)} seeds)."


def write(study: Study, data: str, folder: Path, quick: bool) -> list[str]:
    """table.md, table.csv, result.json and plot.png from the cells that there are; returns the table's lines."""
    result = aggregate(study, cells(folder))
    if not result:
        raise UserError(f"{folder}: no arm is done yet")
    lines = list(render(study, data, result, quick))
    columns = sorted({key for arm in result.values() for key in arm})
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["arm", *columns])
    table.writerows([name, *(arm.get(key) for key in columns)] for name, arm in result.items())
    for name, content in (
        ("table.md", "\n".join(lines) + "\n"),
        ("table.csv", text.getvalue()),
        ("result.json", json.dumps(result, indent=1) + "\n"),
    ):
        with written(folder / name) as file:
            file.write(content.encode())
    _plot(study, result, folder / "plot.png", quick)
    return lines


def _plot(study: Study, result: Mapping[str, Any], path: Path, quick: bool) -> None:
    """Each arm's accuracy with its interval, one row each."""
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=(7, 0.8 + 0.45 * len(result)), layout="constrained")
    axes = figure.add_subplot()
    for row, (name, arm) in enumerate(result.items()):
        low, high = (100 * value for value in arm["accuracy_95"])
        axes.plot([low, high], [row, row], color="tab:orange" if name == study.baseline else "tab:blue", linewidth=2)
        axes.plot(100 * arm["accuracy"], row, "o", color="black")
    axes.set_yticks(range(len(result)), list(result))
    axes.invert_yaxis()
    axes.set(xlabel="exact match, %, with its 95 % interval", title=study.title + (" (smoke test)" if quick else ""))
    with written(path) as file:
        figure.savefig(file, format="png", dpi=120)
