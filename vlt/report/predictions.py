"""The best and the worst of what a run said, with the images and, where they were drawn, the maps of its attention."""

import heapq
import json
import math
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpus_db.read import UserError
from corpus_db.read import questions as read_questions
from vlt import runs
from vlt.report import pictures
from vlt.report.results import Evaluated

SHOWN = 6  # of the best, and of the worst
LONGEST = 600  # characters of a text
SHORT = 60  # characters of a text that fits beside its name
MAPS = "maps"
Line = Mapping[str, Any]


@dataclass(frozen=True)
class Said:
    """One prediction as a page shows it."""

    id: str
    told: list[tuple[str, str]]  # what was asked, what is true, what was said
    pictures: list[tuple[str, str, str]]  # data address or "", what it is, what stands below it
    map: str  # data address, or ""
    right: bool | None

    @property
    def long(self) -> bool:
        """Whether its texts need room."""
        return any(len(text) > SHORT for _, text in self.told)


@dataclass(frozen=True)
class Extremes:
    """The best and the worst predictions of an evaluation."""

    best: list[Said] = field(default_factory=list)
    worst: list[Said] = field(default_factory=list)
    order: str = ""  # by what they are ordered
    notes: list[str] = field(default_factory=list)


def extremes(run: runs.Run, evaluated: Evaluated, db: str | None) -> Extremes:
    """Of an evaluation's predictions.jsonl; what cannot be shown is told in the notes. `db`: where images lie now."""
    lines = list(_lines(evaluated.folder / "predictions.jsonl"))
    if not lines:
        return Extremes(notes=["No prediction is kept here."])
    if evaluated.task == "vqa":
        return _answers(run, evaluated, lines, db)
    if evaluated.task == "retrieval":
        return _found(lines)
    return _texts(lines)


def _lines(path: Path) -> Iterator[Line]:
    """The records of a file; what is none of them is passed over."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for text in file:
                try:
                    line = json.loads(text)
                except (ValueError, RecursionError):
                    continue
                if isinstance(line, dict) and {"id", "truth", "output", "score"} <= line.keys() and _number(line):
                    yield line
    except OSError:
        return


def _number(line: Line, name: str = "score") -> bool:
    value = line.get(name)
    return isinstance(value, (int, float)) and math.isfinite(value)


def _answers(run: runs.Run, evaluated: Evaluated, lines: Sequence[Line], db: str | None) -> Extremes:
    paths, notes = _question_images(run, db)
    maps = {str(line["id"]): str(line.get("file")) for line in _lines(evaluated.folder / MAPS / "index.jsonl")}
    if not maps:
        made = evaluated.made_by.get("command")
        made = made or f"python cli.py evaluate vqa --run {shlex.quote(run.folder.name)} --split {evaluated.split}"
        notes.append(f"Where it looked is not drawn here; this draws it: {made} --maps {2 * SHOWN}")

    def shown(line: Line) -> Said:
        file = maps.get(str(line["id"]), "")
        drawn = pictures.drawn(evaluated.folder / MAPS / file) if file and Path(file).name == file else ""
        told = {"asked": line.get("question"), "true": line["truth"], "chosen": line["output"]}
        told |= {"written": line.get("said"), "sure": f"{line['score']:.3f}"}
        name = str(line.get("image"))
        picture = (pictures.thumbnail(paths.get(str(line["id"]))), f"image {name}", name)
        return Said(str(line["id"]), _told(told), [picture], drawn, bool(line.get("right")))

    order = "the right answers and the wrong ones that it was surest of"
    return _extremes(lines, lambda line: bool(line.get("right")), shown, order, notes)


def _question_images(run: runs.Run, db: str | None) -> tuple[dict[str, str | None], list[str]]:
    """The image of each question by its id, from the database that the run learned from."""
    told = run.corpora[0]
    try:
        asked = read_questions(told["questions"]["source"], None, db or str(told["database"]))
    except (KeyError, TypeError, UserError) as error:
        return {}, [f"The images cannot be shown: {error}"]
    return {one.upstream_id: one.image_path for one in asked}, []


def _found(lines: Sequence[Line]) -> Extremes:
    def shown(line: Line) -> Said:
        by_text = line.get("way") == "text_to_image"
        told = {"asked": "image for a text" if by_text else "text for an image", "sure": f"{line['score']:.3f}"}
        images = [
            (pictures.thumbnail(_path(line.get("image"))), f"image of {line['id']}", "its own" if by_text else "")
        ]
        if by_text:
            first = pictures.thumbnail(_path(line["output"]))
            images.append((first, f"image that stood first for {line['id']}", "first"))
        else:
            told |= {"true": line["truth"], "first": line["output"]}
        return Said(str(line["id"]), _told(told), images, "", line["output"] == line["truth"])

    order = "the right ones and the wrong ones that scored highest; a copy of the right one counts as right here"
    return _extremes(lines, lambda line: line["output"] == line["truth"], shown, order, [])


def _texts(lines: Sequence[Line]) -> Extremes:
    if not all(_number(line, "rouge_l") for line in lines):
        return Extremes(notes=["This evaluation did not score its texts one by one; evaluate the run again."])

    def shown(line: Line) -> Said:
        told = {"true": line["truth"], "written": line["output"], "ROUGE-L": f"{line['rouge_l']:.3f}"}
        picture = (pictures.thumbnail(_path(line.get("image"))), f"image of {line['id']}", "")
        return Said(str(line["id"]), _told(told), [picture], "", None)

    best = heapq.nlargest(SHOWN, lines, key=lambda line: (line["rouge_l"], line["score"]))
    worst = heapq.nsmallest(SHOWN, lines, key=lambda line: (line["rouge_l"], -line["score"]))
    order = "the texts most and least like the true ones, by ROUGE-L"
    return Extremes([shown(line) for line in best], [shown(line) for line in worst], order)


def _extremes(
    lines: Sequence[Line], right: Callable[[Line], bool], shown: Callable[[Line], Said], order: str, notes: list[str]
) -> Extremes:
    by_kind = [
        heapq.nlargest(SHOWN, (line for line in lines if right(line) is kind), key=lambda line: line["score"])
        for kind in (True, False)
    ]
    best, worst = ([shown(line) for line in some] for some in by_kind)
    return Extremes(best, worst, order, notes)


def _told(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, _cut(str(text))) for name, text in told.items() if text is not None]


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[:LONGEST] + " …"


def _path(value: Any) -> str | None:
    return value if isinstance(value, str) and "\0" not in value else None
