"""Make the sample corpora that a study runs on: rendered, crawled and built by the project's own commands."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from corpus_db.read import UserError, data_folder, questions, version
from vlt.studies import MAIN, Study
from vlt.tasks.questions import SAMPLE

Say = Callable[[str], None]
_MAIN: dict[str, Any] = {"cases": 1200, "noise": "medpix", "seed": 1}


def prepared(study: Study, share: float, command: Path, say: Say) -> dict[str, str]:
    """The databases of a study's corpora by name, made where they are not there; `share` of their cases.

    `command`: the script whose commands make them. They are kept apart from the user's own corpora.
    """
    recipes = {MAIN: _MAIN, **study.corpora}
    return {name: _made(name, recipe, share, command, say) for name, recipe in recipes.items()}


def _made(name: str, recipe: Mapping[str, Any], share: float, command: Path, say: Say) -> str:
    recipe = {**recipe, "cases": max(round(recipe["cases"] * share), 12)}
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:8]
    home = data_folder().absolute() / "studies"
    folder, db = home / f"{name}-{digest}", home / f"{name}-{digest}.db"
    home.mkdir(parents=True, exist_ok=True)
    if not _whole(db, name):
        say(f"making the corpus {name}: {', '.join(f'{key} {value}' for key, value in recipe.items())}")
        options = [text for key, value in recipe.items() for text in (f"--{key}", str(value))]
        without = ["--exclude", f"{SAMPLE}:test"] if name == MAIN else []
        steps = [["crawl", "--site", f"sample:{folder}", "--db", str(db)], ["build", *without, "--db", str(db)]]
        if name == MAIN:
            steps.insert(1, ["import", SAMPLE, str(folder), "--db", str(db)])
        if not (folder / "truth.jsonl").is_file():
            steps.insert(0, ["sample", *options, "-o", str(folder)])
        for step in steps:
            _run(command, step, home)
    return str(db)


def _whole(db: Path, name: str) -> bool:
    """Whether a corpus was made to its end; looking at a database that is not there must not make one."""
    if not db.is_file():
        return False
    try:
        version(None, str(db))
        return name != MAIN or bool(questions(SAMPLE, None, str(db)))
    except UserError:
        return False


def _run(command: Path, step: Sequence[str], home: Path) -> None:
    """One of the project's commands, in a process of its own: it notes there which corpus was filled last."""
    asked = [sys.executable, str(command), *step]
    done = subprocess.run(asked, env={**os.environ, "RGC_DATA": str(home)}, stdout=sys.stderr)
    if done.returncode:
        raise UserError(f"{step[0]} ended with {done.returncode}; its reason is above; then run the study again")
