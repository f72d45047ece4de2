"""What `evaluate` kept beside a run, as tables for a page: each with its intervals, its baselines and its differences.

A folder may come from anywhere: what is damaged in it is told in one line, and the rest is still shown.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpus_db.read import UserError
from vlt import predict, runs
from vlt.metrics import ranks
from vlt.metrics.intervals import difference, shown
from vlt.metrics.retrieval import COUNTINGS, DIRECTIONS, METHODS, median_rank
from vlt.report.curves import Intervals, intervals

MAIN = ("overall", "closed", "open")  # groups of questions that stand in the first table
TITLES = {"vqa": "Answers", "retrieval": "Retrieval", "report": "Written texts"}
MOST_BYTES = 50 * 2**20  # of a result.json
DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)


@dataclass(frozen=True)
class Table:
    """A table of a page; `numeric`: the columns that hold numbers."""

    title: str
    heads: list[str]
    rows: list[list[Any]]
    numeric: tuple[int, ...] = ()
    folded: bool = False


@dataclass(frozen=True)
class Difference:
    """A sentence, and whether it says better, worse or nothing."""

    told: str
    verdict: str  # "good", "bad" or ""


@dataclass(frozen=True)
class Evaluated:
    """One evaluation as a page shows it."""

    name: str
    folder: Path
    task: str
    title: str
    made_by: Mapping[str, Any]
    split: str = "test"
    tables: list[Table] = field(default_factory=list)
    figures: list[Intervals] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)  # notes that hold texts of the corpus
    trouble: str = ""


def read(run: runs.Run) -> list[Evaluated]:
    """All evaluations of a run, in the order of their names."""
    folders = sorted(path for path in (run.folder / "evaluations").glob("*") if path.is_dir())
    weights = predict.weights_sha256(run.folder / predict.FILE)
    return [_read(folder, weights) for folder in folders]


def _read(folder: Path, weights: str | None) -> Evaluated:
    made_by = _made_by(folder / "environment.json")
    try:
        result = _json(folder / "result.json")
        lay_out = {"vqa": _questions, "retrieval": _retrieval, "report": _texts}[result["task"]]
        of_set = f"{result['set']}, {result['split']} split" if "set" in result else result["version"]
        title = f"{TITLES[result['task']]}: {of_set}"
        split = str(result.get("split", "test"))
        found = lay_out(Evaluated(folder.name, folder, result["task"], title, made_by, split), result)
        if settings := result.get("settings"):
            found.notes.append("Settings: " + ", ".join(f"{name} {value}" for name, value in settings.items()) + ".")
    except (*DAMAGED, UserError) as error:
        why = f"{folder / 'result.json'}: cannot be read ({type(error).__name__}: {error}); evaluate the run again"
        return Evaluated(folder.name, folder, "", folder.name, made_by, trouble=why)
    if weights and made_by.get("weights_sha256") not in (None, weights):
        found.notes.append("These numbers are of other weights than the run has now; evaluate it again.")
    return found


def _json(path: Path) -> Any:
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path.stat().st_size:,} bytes")
    return json.loads(path.read_text(encoding="utf-8"))


def _made_by(path: Path) -> Mapping[str, Any]:
    """What an evaluation ran on; nothing for one that did not note it."""
    try:
        found = _json(path)
    except DAMAGED:
        return {}
    return found if isinstance(found, dict) else {}


def _questions(found: Evaluated, result: Mapping[str, Any]) -> Evaluated:
    groups = result["groups"]
    overall = groups["overall"]
    systems = list(overall["systems"])
    heads = ["questions", "n", "images", "ceiling", *systems]
    numeric = tuple(range(1, len(heads)))
    rows = {name: _group(name, group, systems) for name, group in groups.items()}
    main = [row for name, row in rows.items() if name in MAIN]
    rest = [row for name, row in rows.items() if name not in MAIN]
    title = "Exact match in % [95 % interval by image], token F1"
    found.tables.append(Table(title, heads, main, numeric))
    found.tables.append(Table("By type, organ and modality", heads, rest, numeric, folded=True))
    found.tables.append(_confusion(found.folder / "confusion.csv"))
    exact = {name: _percents(told["exact"], told["exact_95"]) for name, told in overall["systems"].items()}
    found.figures.append(_figure("Exact match in %, all questions", exact, systems[0]))
    for name, told in overall["differences"].items():
        value, *low_high = _percents(told["exact"], told["exact_95"])
        found.differences.append(_difference(f"{systems[0]} less {name}", value, low_high, 1))
    outside = result.get("outside", {"count": 0})
    if outside["count"]:
        found.notes.append(f"{outside['count']} of {outside['of']} true answers are none of those to choose from.")
    if result.get("left_out"):
        found.notes.append(f"{result['left_out']} questions are left out, as their image cannot be read.")
    found.notes.extend(f"Unchecked: {what}." for what in result.get("unchecked", ()))
    if "without the image" not in systems:
        found.notes.append("No twin without images stands beside it: finetune vqa makes one unless told not to.")
    return found


def _group(name: str, group: Mapping[str, Any], systems: list[str]) -> list[Any]:
    ceiling = None if group["ceiling"] is None else f"{100 * group['ceiling']:.1f}"
    cells = [_answered(group["systems"][system]) for system in systems]
    return [name, group["questions"], group["images"], ceiling, *cells]


def _answered(told: Mapping[str, Any]) -> str:
    return f"{_with_interval(told['exact'], told['exact_95'])}, F1 {100 * told['f1']:.1f}"


def _confusion(path: Path) -> Table:
    """The most frequent true answers against what was answered; empty where the file is not there or damaged."""
    title = "Confusion: true answers down, given answers across"
    try:
        with open(path, newline="", encoding="utf-8") as file:
            heads, *rows = csv.reader(file)
        used = [place for place in range(1, len(heads)) if any(row[place] != "0" for row in rows)]
        kept = [[row[0], *("·" if row[place] == "0" else row[place] for place in used)] for row in rows]
        return Table(title, ["true", *(heads[place] for place in used)], kept, tuple(range(1, len(used) + 1)), True)
    except (*DAMAGED, csv.Error):
        return Table(title, [], [])


def _retrieval(found: Evaluated, result: Mapping[str, Any]) -> Evaluated:
    heads = ["", "counting", "by", *(f"R@{k}" for k in ranks.KS), "median rank"]
    rows, best = [], {}
    for way, title in DIRECTIONS.items():
        for counting in COUNTINGS:
            by_method = {name: told[counting] for name, told in result["scores"][way].items()}
            for method, told in (by_method | {"chance": result["chance"][counting]}).items():
                by = METHODS[method].format(k=result["k"]) if method in METHODS else method
                rows.append([title, counting, by, *_ranked(told)])
            *_, last = by_method
            told = by_method[last]
            best[f"{title}, {counting}"] = _percents(told["r1"], told["r1_interval"])
    found.tables.append(Table("Recall in % [95 % interval by case]", heads, rows, tuple(range(3, len(heads)))))
    found.figures.append(_figure("R@1 in %, by the last method", best))
    pool = f"A pool of {result['pool']:,} pairs, {result['images']:,} images and {result['captions']:,} captions"
    found.notes.append(f"{pool}, of {result['cases']:,} cases; {'fine-tuned' if result['tuned'] else 'zero-shot'}.")
    found.notes.append(
        "Strict: the pair's own alone is right; grouped: any pair with its caption, image or cluster is."
    )
    found.notes.extend(str(line) for line in result["left_out"])
    return found


def _ranked(told: Mapping[str, Any]) -> Iterator[str]:
    for k in ranks.KS:
        yield _with_interval(told[f"r{k}"], told.get(f"r{k}_interval"))
    yield median_rank(told)


def _texts(found: Evaluated, result: Mapping[str, Any]) -> Evaluated:
    systems = result["systems"]
    first = next(iter(systems))
    metrics = [name for name in systems[first] if not name.endswith("_95")]
    rows = [[metric, *(_scored(told, metric) for told in systems.values())] for metric in metrics]
    title = f"{result['pairs']:,} texts, each score [95 % interval by case]"
    found.tables.append(Table(title, ["score", *systems], rows, tuple(range(1, len(systems) + 1))))
    figure = {name: _percents(told["ROUGE-L"], told["ROUGE-L_95"]) for name, told in systems.items()}
    found.figures.append(_figure("ROUGE-L, times 100", figure, first))
    for name, by_metric in result["differences"].items():
        for metric, told in by_metric.items():
            line = _difference(f"{metric}: {first} less {name}", told["less"], told["less_95"], 3)
            found.differences.append(line)
    found.texts.append(f"The best constant text, chosen on validation: {result['constant']['text']}")
    return found


def _scored(told: Mapping[str, Any], metric: str) -> str:
    if told[metric] is None:
        return "absent"
    low_high = told.get(f"{metric}_95")
    return f"{told[metric]:.3f}" + (f" [{low_high[0]:.3f}, {low_high[1]:.3f}]" if low_high else "")


def _percents(value: float, low_high: Any) -> tuple[float, float, float]:
    """A share with its interval, in per cent; without an interval its own bounds."""
    low, high = low_high or (value, value)
    return 100 * value, 100 * low, 100 * high


def _with_interval(value: float, low_high: Any) -> str:
    told, low, high = _percents(value, low_high)
    return f"{told:.1f}" + (f" [{low:.1f}, {high:.1f}]" if low_high else "")


def _figure(title: str, found: Mapping[str, tuple[float, float, float]], set_off: str | None = None) -> Intervals:
    made = intervals(title, found, set_off)
    if made is None:
        raise ValueError(f"{title}: no numbers")
    return made


def _difference(told: str, value: float, low_high: Sequence[float], digits: int) -> Difference:
    some = round(value, digits) != 0  # BLEU of no match at all is 1e-15, not 0
    verdict = ("", "good", "bad")[shown(low_high)] if some else ""
    return Difference(f"{told}: {difference(value, low_high, digits)}", verdict)
