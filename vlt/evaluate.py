"""Evaluate a run on a task: tables with baselines and intervals, kept beside the run with all they were made of."""

import csv
import io
import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus_db.read import Question, UserError, Version, version, written
from vlt import attention_maps, predict, runs, tasks
from vlt.data import CorpusDataset, spaced
from vlt.decode import Search
from vlt.metrics import report as report_table
from vlt.metrics import retrieval as retrieval_table
from vlt.metrics import vqa as vqa_table
from vlt.metrics.answers import accepted, normalise
from vlt.pack import pack
from vlt.tasks import report as writing
from vlt.tasks import retrieval as finding
from vlt.tasks import vqa as answering
from vlt.tasks.questions import QuestionDataset
from vlt.tune import told as told_of_questions
from vlt.tune import twin_of

Say = Callable[[str], None]
USUAL: dict[str, dict[str, Any]] = {  # settings that do not show in the name of an evaluation's folder
    "vqa": {"beams": Search().beams},
    "retrieval": {"k": 16, "exact": False},
    "report": {name: getattr(Search(), name) for name in ("beams", "length_penalty", "no_repeat")},
}
EXTREMES = 50  # wrong answers that the model was surest of; texts that are least and most like what they should be


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found: for people, for scripts, and the files beside the run."""

    folder: Path
    lines: list[str]
    result: dict[str, Any]


def vqa(name: str, split: str, db: str | None, beams: int, maps: int, say: Say) -> Evaluation:
    """A run on the questions that it was fine-tuned for; its blind twin NAME-blind, where there is one, beside it.

    `maps`: of how many of the surest right and wrong answers to draw where the model looked.
    """
    run, model, task = _answering(name, db)
    if maps:
        attention_maps.check(model)
    data = task.dataset(split, run.config, model.tokenizer)
    systems, found = _answers(model, task, data, beams, say)
    asked = data.questions
    twin, blind = _twin(run, db, task, split, beams, say)
    if blind is not None:
        systems["without the image"] = blind
    systems["most frequent"] = answering.Frequent(task.questions.splits["train"]).answers(asked)
    described = [answering.described(one) for one in asked]
    table = vqa_table.score(described, systems, task.answers)
    outside = answering.outside(found)
    lines = [*told_of_questions(task.questions), *(f"unchecked: {what}" for what in run.unchecked)]
    lines += [f"{run.folder.name} on {split}, 95 % intervals by image:", ""]
    lines += vqa_table.render(table)
    lines += _left_out(task.questions.splits[split], asked) + ([] if blind is not None or run.config.blind else [twin])
    if outside["count"] and task.answers:
        first = outside["first"]
        lines.append(
            f"{outside['count']} of {outside['of']} true answers are none of the {len(task.answers)} to choose from, "
            f"the first: {first['id']} {first['answer']!r}"
        )
    result: dict[str, Any] = {
        "task": "vqa",
        "run": run.folder.name,
        "set": task.questions.name,
        **_source(task.questions.sha256, task.questions.database),
        "split": split,
        "settings": {"beams": beams},
        "groups": table,
    }
    result |= {"outside": outside, "left_out": len(task.questions.splits[split]) - len(asked)}
    result["unchecked"] = run.unchecked
    folder = _kept(run, _named(run, result, None, split, None), result, lines, (one.line() for one in found))
    outputs = [normalise(one.output) for one in found]
    truths = [said if one.right else accepted(one.truth)[0] for one, said in zip(found, outputs, strict=True)]
    _write(folder / "confusion.csv", _csv(vqa_table.confusion(truths, outputs)))
    wrong = sorted((one for one in found if not one.right), key=lambda one: -one.score)
    _write(folder / "worst.jsonl", _json_lines(one.line() for one in wrong[:EXTREMES]))
    if maps:
        where, drawn = attention_maps.keep(folder, model, data, found, maps)
        lines.append(f"{len(drawn)} attention maps in {where}")
    return Evaluation(folder, lines, result)


def _twin(
    run: runs.Run, db: str | None, task: answering.Answering, split: str, beams: int, say: Say
) -> tuple[str, Sequence[str] | None]:
    """What the run's blind twin answers; where there is none that fits, None and a line that says so."""
    folder = twin_of(run)
    if not (folder / "config.json").is_file():
        return (
            f"no twin without the image to compare with: {folder} is not there (finetune vqa makes one by itself)",
            None,
        )
    if not (folder / predict.FILE).is_file():
        return f"the twin without the image is not trained yet; go on with: {run.resume_command}", None
    other, model, its_task = _answering(str(folder), db)
    if other.config != run.config.changed(blind=True) or its_task.questions.sha256 != task.questions.sha256:
        return f"{folder}: no twin of {run.folder.name}: its settings or questions are others; not shown", None
    data = its_task.dataset(split, other.config, model.tokenizer)
    return "", next(iter(_answers(model, its_task, data, beams, say)[0].values()))


def _left_out(split: Sequence[Question], asked: Sequence[Question]) -> list[str]:
    """A line about the questions of a split that are not asked, as their image cannot be read."""
    kept = {one.upstream_id for one in asked}
    gone = [one for one in split if one.upstream_id not in kept]
    if not gone:
        return []
    first = gone[0]
    return [
        f"{len(gone)} of {len(split)} questions are left out, as their image cannot be read, the first: "
        f"{first.upstream_id} ({first.image_name})"
    ]


def _answering(name: str, db: str | None) -> tuple[runs.Run, predict.Model, answering.Answering]:
    run = runs.open_run(name)
    task = tasks.of(run, db)
    if not isinstance(task, answering.Answering):
        raise UserError(
            f"{run.folder}: no run that answers questions; make one with: "
            f"python cli.py finetune vqa --from {shlex.quote(run.folder.name)}"
        )
    if task.questions.sha256 != run.corpora[0]["manifest_sha256"]:  # another split might test what it has seen
        raise UserError(
            f"{run.folder}: the questions of {task.questions.name} are not those that it learned from any more; give "
            "the database of then with --db, or fine-tune again"
        )
    model = predict.load(run.folder)
    if list(task.answers) != list(model.answers):
        raise UserError(f"{run.folder / 'answers.json'}: not the answers that its model chooses from; {runs.ADVICE}")
    return run, model, task


def _answers(
    model: predict.Model, task: answering.Answering, asked: QuestionDataset, beams: int, say: Say
) -> tuple[dict[str, Sequence[str]], list[answering.Answered]]:
    """What a model answers, by way of answering, and its answers themselves."""
    found = answering.answered(model.vlt, asked, model.tokenizer, task.answers, model.device, beams, say)
    systems: dict[str, Sequence[str]] = {}
    if "answer" in model.config.objectives:
        systems["chosen"] = [one.output for one in found]
    if "lm" in model.config.objectives:
        systems["written"] = [one.said or "" for one in found]
    return systems, found


def retrieval(
    name: str, split: str, corpus: str | None, db: str | None, k: int, exact: bool, limit: int | None, say: Say
) -> Evaluation:
    """A run on the pairs of a version's split: the version that it learned from first, unless another is named."""
    run, model = runs.open_run(name), predict.load(name)
    found, (data,) = _datasets(run, model, [split], corpus, db, say)
    shown = f"{found.name}:{split}"
    tuned = run.config.task == "retrieval"
    result = finding.evaluate(model.vlt, data, model.device, k=k, exact=exact, limit=limit, tuned=tuned, say=say)
    settings = {"k": k, "exact": exact}
    told = {"task": "retrieval", "run": run.folder.name, "version": shown}
    result = told | _source(found.manifest_sha256, found.database) | {"settings": settings} | result
    lines = [f"{run.folder.name} on {shown}:", *retrieval_table.render(result)]
    folder = _kept(run, _named(run, result, found, split, limit), result, lines, _found(data, result.pop("best")))
    return Evaluation(folder, lines, result)


def _found(data: CorpusDataset, best: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What stood first for each pair, both ways."""
    for way, tell in (("image_to_text", lambda pair: pair.caption), ("text_to_image", lambda pair: pair.image_path)):
        for row, other, score in zip(best["rows"], best[way]["rows"], best[way]["scores"], strict=True):
            pair, first = data.pairs[row], data.pairs[other]
            told = {"id": pair.pair_id, "way": way, "image": pair.image_path, "truth": tell(pair)}
            yield told | {"output": tell(first), "output_id": first.pair_id, "score": score, "method": best["method"]}


def report(
    name: str,
    split: str,
    corpus: str | None,
    db: str | None,
    search: Search,
    limit: int | None,
    say: Say,
) -> Evaluation:
    """What a run writes about the images of a split, beside the best constant text and the nearest image's."""
    run, model = runs.open_run(name), predict.load(name)
    if "lm" not in run.config.objectives:
        raise UserError(
            f"{run.folder}: it did not learn to write (lm); make a run that does with: "
            f"python cli.py finetune report --from {shlex.quote(run.folder.name)}"
        )
    found, (data, training, validation) = _datasets(run, model, [split, "train", "val"], corpus, db, say)
    shown, rows = f"{found.name}:{split}", spaced(len(data), limit)
    pairs = [data.pairs[row] for row in rows]
    say(f"writing about {len(rows)} images")
    texts = [pair.caption for pair in training.pairs]
    say(f"trying {len(set(texts))} training texts as the text of all")
    fixed, on_validation = writing.constant(texts, [pair.caption for pair in validation.pairs])
    texts_and_scores = writing.write(model.vlt, data, rows, model.tokenizer, model.device, search, say)
    written_ = {
        "written": [said for said, _ in texts_and_scores],
        "best constant": [fixed] * len(rows),
        "of the nearest": writing.nearest(model.vlt, training, data, rows, model.device),
    }
    ids = [pair.pair_id for pair in pairs]
    systems = {system: dict(zip(ids, said, strict=True)) for system, said in written_.items()}
    references = {pair.pair_id: [pair.caption] for pair in pairs}
    table = report_table.score(references, systems, {pair.pair_id: pair.case_id for pair in pairs})
    constant = {"text": fixed, "BLEU-4 on val": on_validation}
    settings = {name: getattr(search, name) for name in USUAL["report"]}
    result: dict[str, Any] = {"task": "report", "run": run.folder.name, "version": shown}
    result |= _source(found.manifest_sha256, found.database) | {"settings": settings, "constant": constant} | table
    lines = [f"{run.folder.name} on {shown}, 95 % intervals by case:", "", *report_table.render(table)]
    lines.append(f"best constant, BLEU-4 {on_validation:.3f} on validation: {fixed}")
    alike = writing.alike(written_["written"], [pair.caption for pair in pairs])
    told = [
        {"id": pair.pair_id, "image": pair.image_path, "truth": pair.caption, "output": said, "score": sure}
        | {"rouge_l": like}
        for pair, (said, sure), like in zip(pairs, texts_and_scores, alike, strict=True)
    ]
    folder = _kept(run, _named(run, result, found, split, limit), result, lines, told)
    for name, sign in (("worst", 1), ("best", -1)):
        ordered = sorted(told, key=lambda one: (sign * one["rouge_l"], -one["score"]))
        _write(folder / f"{name}.jsonl", _json_lines(ordered[:EXTREMES]))
    return Evaluation(folder, lines, result)


def _datasets(
    run: runs.Run, model: predict.Model, splits: Sequence[str], corpus: str | None, db: str | None, say: Say
) -> tuple[Version, list[CorpusDataset]]:
    """The version that is named, or that a run learned from first, and splits of it as the run's model reads them."""
    first = run.corpora[0]
    if corpus is None and "questions" in first:
        raise UserError(f"{run.folder}: it learned from questions; name a version: --corpus VERSION")
    found = version(corpus or first["version"], db or first["database"])
    config = run.config
    packed = pack(found, config.image_size, say=say)
    sizes: dict[str, Any] = {"channels": config.channels, "max_tokens": config.max_tokens}
    return found, [CorpusDataset(found, packed, model.tokenizer, split, **sizes) for split in splits]


def _source(manifest: str, database: str) -> dict[str, str]:
    return {"manifest_sha256": manifest, "database": database}


def _named(run: runs.Run, result: dict[str, Any], corpus: Version | None, split: str, limit: int | None) -> str:
    """The folder of an evaluation: one of a part, of another version or with other settings has its own.

    A version is known by its manifest: two databases each have a v1.
    """
    parts = [result["task"], split]
    if corpus is not None and corpus.manifest_sha256 != run.corpora[0]["manifest_sha256"]:
        parts += [corpus.name.replace("/", "-"), corpus.manifest_sha256[:8]]
    parts += [f"of-{limit}"] if limit else []
    for name, value in result["settings"].items():
        if value != USUAL[result["task"]][name]:
            parts += [name.replace("_", "-"), *([] if value is True else [f"{value:g}"])]
    return "-".join(parts)


def _kept(
    run: runs.Run, name: str, result: dict[str, Any], lines: Iterable[str], predictions: Iterable[dict[str, Any]] = ()
) -> Path:
    """Write result.json, table.md, predictions.jsonl and environment.json into evaluations/NAME; returns the folder."""
    folder = run.folder / "evaluations" / name
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "predictions.jsonl", _json_lines(predictions))
    _write(folder / "table.md", "\n".join(lines) + "\n")
    _write(folder / "result.json", json.dumps(result, indent=1) + "\n")
    made_by = runs.environment() | {"weights_sha256": predict.weights_sha256(run.folder / predict.FILE)}
    _write(folder / "environment.json", json.dumps(made_by, indent=1) + "\n")
    return folder


def _write(path: Path, text: str) -> None:
    with written(path) as file:
        file.write(text.encode("utf-8", "replace"))


def _json_lines(rows: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _csv(rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
