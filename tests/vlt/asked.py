"""A database with a few questions about drawn images, and fine-tuning on them that takes a second."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from corpus_db import db, importers
from tests.vlt import corpus, tiny
from vlt import runs, start, tasks
from vlt.tasks.questions import question_set
from vlt.tasks.vqa import Answering
from vlt.train import train

ORGANS, SIDES = ("head", "chest", "abdomen"), ("left", "right")


def question(number: int, image: int, **changes: Any) -> dict[str, Any]:
    """A question in the form that VQA-RAD has, about the image synpicIMAGE; every other one is closed."""
    closed = bool(number % 2)
    told = {"question": "On which side is it?", "answer": SIDES[image % 2], "question_type": "POS"}
    if closed:
        told = {"question": "Is there a mass?", "answer": ("Yes", "No")[image % 2], "question_type": "PRES"}
    base = {"qid": number, "image_name": f"synpic{image}.png", "phrase_type": "freeform"}
    base |= {"answer_type": "CLOSED " if closed else "OPEN", "image_organ": ORGANS[image % 3]}
    return base | told | changes


def two_each(images: Sequence[int]) -> list[dict[str, Any]]:
    """An open and a closed question about each image."""
    return [question(2 * image + place, image) for image in images for place in (0, 1)]


def database(
    folder: Path,
    training: Sequence[dict[str, Any]],
    testing: Sequence[dict[str, Any]],
    images: Sequence[int] = range(40),
    name: str = "corpus.db",
) -> str:
    """A database with the questions and the images that are there, of noise; its address."""
    given = folder / "vqa"
    (given / "images").mkdir(parents=True, exist_ok=True)
    for number in images:
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32), dtype=np.uint8)
        Image.fromarray(pixels).save(given / "images" / f"synpic{number}.png")
    (given / "trainset.json").write_text(json.dumps(list(training)))
    (given / "testset.json").write_text(json.dumps(list(testing)))
    address = str(folder / name)
    engine = db.create(address)
    importers.run(engine, "vqa-rad", given)
    engine.dispose()
    return address


def config(**settings: Any) -> Any:
    """A fine-tuning of a second: eight steps of eight questions, with chance in dropout and augmentation."""
    answering = {"task": "vqa", "objectives": {"answer": 1.0, "lm": 0.5}}
    return corpus.config(**{**answering, **settings})


def settings(**more: Any) -> list[str]:
    """The words of a command that make a model of a second."""
    small = json.loads(config(**more).to_json())
    told = {name: value for name, value in small.items() if name not in ("task", "mask_rate_end", "blind")}
    return [word for name, value in told.items() for word in ("--set", f"{name}={json.dumps(value)}")]


def begun(folder: Path, address: str, name: str, **changes: Any) -> tuple[runs.Run, Answering]:
    """A new run on the official questions, with the answers of all but the last of them to choose from."""
    found = question_set("vqa-rad", "official", "en", address)
    answers = sorted({one.answer.lower() for one in found.splits["train"]})[:-1]
    task = Answering(found, answers)
    made = runs.create(folder / "runs" / name, config(**changes), [found], tiny.TOKENIZER, answers=answers)
    return made, task


def main(*folders: str) -> int:
    """Go on with runs in a process of its own, one after the other."""
    torch.set_num_threads(1)
    for folder in folders:
        run = runs.open_run(folder)
        train(run, tasks.of(run), lambda line: print(line, file=sys.stderr, flush=True), start.initialiser({}))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
