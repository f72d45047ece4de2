"""Folders of runs and studies as training and `evaluate` leave them, made in no time: for pages about them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.vlt import asked, corpus
from tests.vlt.studies import small
from vlt import predict, runs, studies
from vlt.metrics import ranks, vqa
from vlt.metrics import report as report_table
from vlt.model import VLT

HOSTILE = '<script>document.title = "taken"</script>'
STEPS = 8


def train(step: int, **more: float) -> dict[str, Any]:
    """A record of training."""
    told = {"kind": "train", "step": step, "rate": 1e-3, "mlm_loss": 8.0 / (step + 1), "mlm_accuracy": 0.5}
    return told | {"itm_loss": 0.7, "itm_accuracy": 0.5, "gradient_norm": 1.0, "images_per_s": 100.0} | more


def evaluation(step: int, **more: float) -> dict[str, Any]:
    """A record of an evaluation of pre-training."""
    told = {"kind": "eval", "step": step, "words_loss": 3.0, "gap": 0.25, "content_right": 0.5, "content_wrong": 0.25}
    told |= {"hard_gap": 0.125, "hard_right": 0.375, "hard_wrong": 0.25}
    return told | {"itm": 0.75, "itm_pairs": 40, "itm_hard": 0.5, "itm_hard_pairs": 30} | more


RECORDS = (
    {"kind": "start", "step": 0, "parameters": 2_500_000, "device": "cpu", "processes": 1},
    evaluation(0),
    *(train(step) for step in range(1, STEPS + 1)),
    evaluation(STEPS, gap=0.375),
)


def measured(run: runs.Run, records: Sequence[dict[str, Any]] = RECORDS) -> None:
    """Write metrics.jsonl."""
    (run.folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def finished(run: runs.Run) -> None:
    """Write a model, untrained."""
    model = VLT(run.config, len(run.tokenizer), run.tokenizer.pad, len(run.answers))
    predict.save(model, run.tokenizer, run.folder / predict.FILE, run.answers)


def base(folder: Path, name: str = "base") -> runs.Run:
    """A pre-trained run under folder/runs, with its curves."""
    run, _ = corpus.begun(folder, name)
    measured(run)
    finished(run)
    return run


def tuned(folder: Path, origin: runs.Run, name: str = "rad") -> runs.Run:
    """A run that answers questions, fine-tuned from another, and evaluated on a question set in folder/corpus.db."""
    address = asked.database(folder, asked.two_each(range(12)), asked.two_each(range(12, 20)))
    run, task = asked.begun(folder, address, name)
    environment = json.loads((run.folder / "environment.json").read_text())
    environment |= {"weights": {"run": str(origin.folder / predict.FILE)}, "command": f"python cli.py make {name}"}
    (run.folder / "environment.json").write_text(json.dumps(environment))
    scores = [{"kind": "eval", "step": step, "accuracy": step / 10, "open": 0.25} for step in (0, 4, STEPS)]
    measured(run, [{"kind": "train", "step": STEPS, "answer_loss": 1.0, "images_per_s": 50.0}, *scores])
    finished(run)
    answered(run, task.questions.splits["test"])
    return run


def answered(run: runs.Run, questions: Sequence[Any]) -> Path:
    """An evaluation on questions: every other answer is right; a map of the first is drawn."""
    truths = [vqa.Asked(one.image_sha256, (one.answer.lower(),), (one.answer_type,)) for one in questions]
    right = [bool(number % 2) for number in range(len(questions))]
    said = [truth.right[0] if hit else HOSTILE for truth, hit in zip(truths, right, strict=True)]
    systems = {"chosen": said, "without the image": ["no"] * len(said), "most frequent": ["yes"] * len(said)}
    result: dict[str, Any] = {"task": "vqa", "run": run.folder.name, "set": "vqa-rad/official/en", "split": "test"}
    result |= {"groups": vqa.score(truths, systems, ["yes", "no"]), "left_out": 1}
    result |= {"outside": {"count": 3, "of": len(said), "first": {"id": "x", "answer": "y"}}, "settings": {"beams": 3}}
    lines = [
        {"id": one.upstream_id, "image": one.image_name, "question": one.question, "truth": one.answer, "output": text}
        | {"score": 1 / (2 + number), "said": "a word", "known": True, "right": hit}
        for number, (one, text, hit) in enumerate(zip(questions, said, right, strict=True))
    ]
    folder = kept(run, "vqa-test", result, lines)
    (folder / "confusion.csv").write_text("truth,yes,no,other\nyes,3,0,0\nno,1,0,0\nother,0,0,0\n")
    (folder / "maps").mkdir()
    Image.fromarray(np.zeros((54, 90), np.uint8)).save(folder / "maps" / "wrong-001.png")
    (folder / "maps" / "index.jsonl").write_text(json.dumps({"file": "wrong-001.png", **lines[0]}) + "\n")
    return folder


def found(run: runs.Run) -> Path:
    """An evaluation of retrieval among four pairs."""
    scores = np.eye(4)[[0, 1, 3, 2]]
    own = np.eye(4, dtype=bool)
    cases = ranks.resample(np.arange(4), 50)
    told = {name: ranks.summary(ranks.places(scores, own), cases) for name in ("strict", "grouped")}
    result = {"task": "retrieval", "run": run.folder.name, "version": "v1:test", "split": "test", "tuned": False}
    result |= {"k": 2, "left_out": ["nothing"], "pool": 4, "images": 4, "captions": 4, "cases": 4}
    result |= {"scores": {"image_to_text": {"itc": told}, "text_to_image": {"itc": told}}}
    chance = ranks.summary(ranks.chance(np.ones(4, np.int64), 4))
    result |= {"chance": {"strict": chance, "grouped": chance}}
    images = [str(run.folder.parent.parent / "images" / f"{number}.png") for number in range(4)]
    lines = [
        {"id": f"p{row}", "way": way, "image": images[row], "truth": side[row], "output": side[first], "score": 0.5}
        for way, side in (("image_to_text", ["a", "b", "c", "d"]), ("text_to_image", images))
        for row, first in enumerate((0, 1, 3, 2))
    ]
    return kept(run, "retrieval-test", result, lines)


def written(run: runs.Run) -> Path:
    """An evaluation of three written texts."""
    truths = {"a": ["axial ct of a mass"], "b": ["a normal chest"], "c": ["a cyst"]}
    systems = {
        "written": {"a": "axial ct of a mass", "b": "a cyst", "c": "a cyst"},
        "best constant": dict.fromkeys("abc", "a cyst"),
    }
    table = report_table.score(truths, systems, {key: key for key in truths})
    result = {"task": "report", "run": run.folder.name, "version": "v1:test"}
    result |= {"constant": {"text": "a cyst", "BLEU-4 on val": 0.1}} | table
    lines = [
        {"id": key, "image": "gone.png", "truth": truths[key][0], "output": said, "score": -1.0, "rouge_l": like}
        for (key, said), like in zip(systems["written"].items(), (1.0, 0.25, 1.0), strict=True)
    ]
    return kept(run, "report-test", result, lines)


def kept(run: runs.Run, name: str, result: dict[str, Any], lines: Sequence[dict[str, Any]]) -> Path:
    """The files of an evaluation."""
    folder = run.folder / "evaluations" / name
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(result))
    (folder / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    made_by: dict[str, Any] = {"command": f"python cli.py evaluate {name}", "commit": "c0ffee"}
    made_by["weights_sha256"] = predict.weights_sha256(run.folder / predict.FILE)
    (folder / "environment.json").write_text(json.dumps(made_by))
    return folder


def study(folder: Path, name: str = "tiny-vqa-rad", preset: str = "full") -> Path:
    """A study under folder/runs/studies: of two arms and two seeds the last cell is not done."""
    declared = replace(small.study(), name="tiny")
    home = folder / "runs" / "studies" / name
    (home / "cells").mkdir(parents=True)
    told = {"study": asdict(declared), "preset": studies.PRESETS[preset]}
    questions = {"source": "vqa-rad", "protocol": "official", "language": "en", "blank": False}
    told |= {"questions": {"version": "vqa-rad/official/en", "manifest_sha256": "ab" * 32, "questions": questions}}
    told |= {"corpora": {"sample": {"version": "v1", "manifest_sha256": "cd" * 32}}}
    (home / "study.json").write_text(json.dumps(told))
    for arm, seed, right in (("none", 1, [0, 0, 1, 0]), ("none", 2, [0, 0, 0, 1]), ("mlm", 1, [1, 1, 1, 1])):
        scores = {"right": right, "images": list("abcd"), "closed": [1, 0, 1, 0], "accuracy": float(np.mean(right))}
        scores |= {"frequent": 0.25, "ceiling": 0.75}
        first = {"run": "studies/pretrained/a", "steps": 4, "seconds": 60.0, "flops": 1e9, "scores": {"gap": 0.125}}
        cell = {"arm": arm, "seed": seed, "pretrain": first if arm == "mlm" else None}
        cell |= {"tune": {"run": f"studies/tuned/{arm}{seed}", "steps": 6, "seconds": 30.0}, **scores}
        (home / "cells" / f"{arm}-{seed}.json").write_text(json.dumps(cell))
    return home
