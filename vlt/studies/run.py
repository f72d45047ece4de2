"""Run a study by arm and seed: each such cell is kept once it is done, and pre-training is shared by its hash."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from corpus_db.read import UserError, version, written
from vlt import device, pace, predict, runs, start, tune
from vlt.config import Config
from vlt.data import Batches
from vlt.log import step_flops
from vlt.metrics.answers import accepted, exact
from vlt.studies import MAIN, PRESETS, Arm, Study
from vlt.tasks.base import Task
from vlt.tasks.pretraining import Pretraining
from vlt.tasks.questions import QuestionSet, image_of, question_set, refuse_tested
from vlt.tasks.vqa import Answering, Frequent, answered
from vlt.text import Tokenizer
from vlt.train import Training

Say = Callable[[str], None]
FOLDER = Path(runs.STUDIES)  # under runs/
TIMED, WARM = 8, 3  # steps, where an arm is matched by time


class Stopped(Exception):
    """A run was interrupted; `code` is what the process should end with."""

    def __init__(self, code: int):
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Data:
    """What a study runs on: databases by the name of their corpus, and the questions of the main one."""

    databases: Mapping[str, str]
    source: str  # of the questions: vqa-rad, sample-truth
    protocol: str = "official"


class Runner:
    """A study on its data, at a preset's budget."""

    def __init__(self, study: Study, data: Data, preset: str, processes: int | None, say: Say):
        self.study, self.data, self.preset, self.processes, self.say = study, data, preset, processes, say
        self.budget = PRESETS[preset]
        parts = [study.name, data.source, *([data.protocol] if data.protocol != "official" else [])]
        self.name = "-".join([*parts, *([preset] if preset != "full" else [])])
        self.folder = runs.RUNS / FOLDER / self.name

    def run(self, seeds: Sequence[int], arms: Sequence[str]) -> None:
        """All cells of these seeds and arms that are not there yet. Raises Stopped, UserError."""
        self._claim()
        for seed in seeds:
            for name in arms:
                path = self.folder / "cells" / f"{name}-{seed}.json"
                if path.is_file():
                    continue
                self.say(f"{self.name}: {name}, seed {seed}")
                cell = self._cell(self.study.arms[name], seed)
                with written(path) as file:
                    file.write(json.dumps(cell).encode())

    def _claim(self) -> None:
        """The folder is of one study on one set of data; UserError where it is of another. Notes this command."""
        told = {"study": asdict(self.study), "preset": self.budget, "questions": self.questions.told()}
        told |= {"corpora": {name: corpus.told() for name, corpus in self.corpora.items()}}
        for one in (told["questions"], *told["corpora"].values()):
            one.pop("database")
        path = self.folder / "study.json"
        text = json.dumps(told, indent=1)
        if path.is_file() and _read(path) != json.loads(text):
            raise UserError(f"{self.folder}: its cells are of other data or settings; move it away and begin again")
        (self.folder / "cells").mkdir(parents=True, exist_ok=True)
        with written(path) as file:
            file.write(text.encode())
        with written(self.folder / "environment.json") as file:
            file.write(json.dumps(runs.environment(), indent=1).encode())

    @cached_property
    def questions(self) -> QuestionSet:
        """What all arms are fine-tuned and tested on."""
        return question_set(self.data.source, self.data.protocol, db=self.data.databases[MAIN])

    @cached_property
    def corpora(self) -> dict[str, runs.Corpus]:
        """The current version of each database, without images of test questions."""
        found = {name: runs.Corpus(version(None, db)) for name, db in self.data.databases.items()}
        for name, corpus in found.items():
            start.refuse_leaks([corpus], self.data.databases[name])
            refuse_tested(self.questions, corpus.version)
        return found

    def _cell(self, arm: Arm, seed: int) -> dict[str, Any]:
        """An arm with one seed: what it took and how it did."""
        origin, told = (None, None) if arm.pretrain is None else self._pretrained(arm, seed)
        config, task, tokenizer = self._tuning(arm, seed, origin)
        if arm.spend:
            more = self._pretraining(self.study.arms[arm.spend], seed)
            spent = _flops(*more) * more[0].steps / _flops(config, task, tokenizer)
            config = config.changed(steps=config.steps + round(spent), patience=0)  # it spends all of them
        name = _shared("tuned", config, task, tokenizer, origin)
        weights = {"run": str(predict.file_of(origin).resolve()) if origin else None}
        seconds = self._trained(name, config, tokenizer, weights, task)
        scores = _tested(name, task)
        tuned = {"run": name, "steps": _steps(name), "seconds": seconds}
        return {"arm": arm.name, "seed": seed, "pretrain": told, "tune": tuned, **scores}

    def _pretraining(self, arm: Arm, seed: int) -> tuple[Config, Task, Tokenizer]:
        """An arm's pre-training, its steps matched to the reference's."""
        corpus = self.corpora[arm.corpus]
        config = Config(**{**self.budget["pretrain"], **arm.model, **(arm.pretrain or {}), "seed": seed})
        made = config, Pretraining([corpus]), start.vocabulary([corpus], config)
        reference = self.study.arms[self.study.reference]
        if arm.name == reference.name or arm.match == "steps":
            return made
        cost = {"flops": _flops, "time": self._seconds}[arm.match]
        wanted = self._pretraining(reference, seed)
        return config.changed(steps=max(round(wanted[0].steps * cost(*wanted) / cost(*made)), 1)), *made[1:]

    def _pretrained(self, arm: Arm, seed: int) -> tuple[str, dict[str, Any]]:
        """The run that an arm begins with, made where no study has made it yet; its name and what it took."""
        kept = self.folder / "cells" / f"{arm.name}-{seed}.pretrain"  # steps matched by time are measured once
        if kept.is_file():
            config, task, tokenizer = self._pretraining(Arm(**asdict(arm) | {"match": "steps"}), seed)
            config = config.changed(steps=int(kept.read_text()))
        else:
            config, task, tokenizer = self._pretraining(arm, seed)
            with written(kept) as file:
                file.write(str(config.steps).encode())
        name = _shared("pretrained", config, task, tokenizer)
        seconds = self._trained(name, config, tokenizer, {}, task)
        run = runs.open_run(name)
        scores = [record for record in run.records() if record["kind"] == "eval"][-1:]
        told = {"run": name, "steps": config.steps, "seconds": seconds, "flops": _flops(config, task, tokenizer)}
        return name, told | {"scores": scores[0] if scores else {}}

    def _tuning(self, arm: Arm, seed: int, origin: str | None) -> tuple[Config, Answering, Tokenizer]:
        """An arm's fine-tuning; from scratch with the words that pre-training on the main corpus would have."""
        source = predict.load(origin, "cpu") if origin else None
        given = {**self.budget["tune"], **(arm.model if source is None else {}), **arm.tune, "seed": seed}
        config = tune.settings("vqa", source.config if source else None, given)
        tokenizer = source.tokenizer if source else start.vocabulary([self.corpora[MAIN]], config)
        return config, Answering(self.questions, self.questions.answers), tokenizer

    def _trained(
        self,
        name: str,
        config: Config,
        tokenizer: Tokenizer,
        weights: dict[str, str | None],
        task: Task,
    ) -> float:
        """Train a run, go on with it, or take it as it is; returns the seconds that its steps took."""
        folder = runs.RUNS / name
        if not (folder / predict.FILE).is_file():
            start.check(None, config, (), self.processes)
            if (folder / "config.json").is_file():
                code = start.resume(name, {}, None, self.processes, self.say)
            else:
                shutil.rmtree(folder, ignore_errors=True)  # begun, but cut off before it was a run
                run = start.make(name, config, tokenizer, weights, task, self.say)
                code = start.carry_out(run, task, None, self.processes, self.say)
            if code:
                raise Stopped(code)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # a study keeps models, not how to go on with them
        return _seconds_of(name, config.batch_size)

    def _seconds(self, config: Config, task: Task, tokenizer: Tokenizer) -> float:
        """Of a step, the median of some, on this machine as it is now."""
        training, batches = _begun(config, task, tokenizer)
        taken = []
        for number in range(WARM + TIMED):
            parts = [part.to(training.place.device) for part in batches.batch(number)]
            begun = time.perf_counter()
            training.step(parts, number)
            taken.append(time.perf_counter() - begun)
        return float(np.median(taken[WARM:]))


def _read(path: Path) -> Any:
    """A file of JSON; None where it is damaged."""
    try:
        return json.loads(path.read_text())
    except ValueError:
        return None


def _shared(folder: str, config: Config, task: Task, tokenizer: Tokenizer, origin: str | None = None) -> str:
    """The name of a run by all that it is made of, which is the same in every study."""
    made_of = runs.made_of(config, tokenizer, task.told(), task.answers) | {"origin": origin}
    return f"{FOLDER}/{folder}/{hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:12]}"


def _seconds_of(name: str, batch_size: int) -> float:
    """What the steps of a run took, without its evaluations."""
    records = (record for record in runs.open_run(name).records() if record["kind"] == "train")
    return pace.seconds(records, batch_size)


def _steps(name: str) -> int:
    """How many steps a run took, which its patience may have ended."""
    return max(record["step"] for record in runs.open_run(name).records())


def _flops(config: Config, task: Task, tokenizer: Tokenizer) -> float:
    """Operations of a step."""
    training, batches = _begun(config, task, tokenizer)
    return step_flops(training.objectives, [part.to(training.place.device) for part in batches.batch(0)])


def _begun(config: Config, task: Task, tokenizer: Tokenizer) -> tuple[Training, Batches]:
    """A training that is measured and thrown away, and its batches."""
    place = device.start()
    batches, _ = task.data(config, tokenizer, lambda line: None, place)
    return Training(config, tokenizer, place, answers=len(task.answers)), batches


def _tested(name: str, task: Answering) -> dict[str, Any]:
    """Exact match on the test questions: which were right, and the image of each."""
    model, run = predict.load(name), runs.open_run(name)
    asked = task.dataset("test", run.config, model.tokenizer)
    found = answered(model.vlt, asked, model.tokenizer, task.answers, model.device, beams=0)
    right = [one.right for one in found]
    baseline = Frequent(task.questions.splits["train"]).answers(asked.questions)
    pairs = zip(baseline, asked.questions, strict=True)
    closed = [one.answer_type == "closed" for one in asked.questions]
    return {
        "right": [int(one) for one in right],
        "images": [image_of(one)[:16] for one in asked.questions],
        "closed": [int(one) for one in closed],
        "accuracy": float(np.mean(right)),
        "ceiling": float(np.mean([one.known for one in found])),
        "frequent": float(np.mean([exact(said, accepted(one.answer)) for said, one in pairs])),
    }
