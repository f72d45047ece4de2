"""Where a run comes from, and what repeats it: the runs before it, their data and code, commands and hashes."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus_db.read import UserError
from vlt import predict, runs
from vlt.report.results import Evaluated

NOT_NOTED = "Its command was not noted: it was made before commands were."
DIRTY = "-dirty"
PLACES = ("command", "commit", "weights", "unchecked", "started", "weights_sha256")  # told apart from the packages


@dataclass(frozen=True)
class Ancestor:
    """A run of the line, the one that the page is about included; or what hinders from looking at it."""

    name: str
    run: runs.Run | None
    environment: Mapping[str, Any]
    trouble: str = ""

    @property
    def commit(self) -> str | None:
        """The code's Git commit."""
        return _text(self.environment, "commit")

    @property
    def command(self) -> str | None:
        """The command line that made it."""
        return _text(self.environment, "command")

    @property
    def begun_with(self) -> list[tuple[str, str]]:
        """Files of weights that are no run's: (what they are of, the file's name)."""
        return [(kind, Path(path).name) for kind, path in _weights(self.environment).items() if kind != "run"]


def line_of(run: runs.Run) -> list[Ancestor]:
    """The run's ancestors, the first one first, the run itself last."""
    line: list[Ancestor] = []
    seen: set[str] = set()
    folder: Path | None = run.folder
    while folder is not None and os.path.abspath(folder) not in seen:
        seen.add(os.path.abspath(folder))
        environment = environment_of(folder)
        try:
            line.append(Ancestor(folder.name, runs.open_run(folder), environment))
        except UserError as error:
            line.append(Ancestor(folder.name, None, {}, f"cannot be looked at: {error}"))
            break
        origin = _weights(environment).get("run")
        folder = Path(origin).parent if origin else None
    return line[::-1]


def environment_of(folder: Path) -> Mapping[str, Any]:
    """What environment.json holds; nothing where it is not there or damaged."""
    try:
        found = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _weights(environment: Mapping[str, Any]) -> dict[str, str]:
    told = environment.get("weights")
    if not isinstance(told, dict):
        return {}
    return {str(kind): path for kind, path in told.items() if isinstance(path, str) and "\0" not in path}


def _text(environment: Mapping[str, Any], name: str) -> str | None:
    value = environment.get(name)
    return value if isinstance(value, str) else None


def commands(line: Sequence[Ancestor], evaluations: Sequence[Evaluated]) -> list[tuple[str, str | None]]:
    """What was called, in its order: (what it made, the command; None where it was not noted)."""
    made = [(f"run {one.name}", one.command) for one in line if one.run is not None]
    return made + [(f"evaluation {one.name}", _text(one.made_by, "command")) for one in evaluations]


def hashes(line: Sequence[Ancestor]) -> list[tuple[str, str, str]]:
    """(run, what, SHA-256) of all that went into the runs, and of the weights that came out."""
    found: list[tuple[str, str, str]] = []
    for one in line:
        if one.run is None:
            continue
        for told in one.run.corpora:
            what = "questions" if "questions" in told else "manifest of version"
            found.append((one.name, f"{what} {told['version']}", str(told["manifest_sha256"])))
        found += [(one.name, name, digest) for name in ("config.json", "vocab.txt") if (digest := _file(one.run, name))]
        if weights := predict.weights_sha256(one.run.folder / predict.FILE):
            found.append((one.name, "weights", weights))
    return found


def _file(run: runs.Run, name: str) -> str:
    try:
        return hashlib.sha256((run.folder / name).read_bytes()).hexdigest()
    except OSError:
        return ""


def settings(run: runs.Run) -> list[list[str]]:
    """The config, one setting a row."""
    return [[name, json.dumps(value)] for name, value in json.loads(run.config.to_json()).items()]


def packages(environment: Mapping[str, Any]) -> list[list[str]]:
    """What a run ran on, as it noted it: versions, processors, cards."""
    told = {name: value for name, value in environment.items() if name not in PLACES}
    return [
        [name, ", ".join(map(str, value)) if isinstance(value, list) else str(value)] for name, value in told.items()
    ]


def data(run: runs.Run) -> list[list[Any]]:
    """What a run learned from: version, pairs, weight, manifest hash, the database's name without its place."""
    names = ("version", "pairs", "weight", "manifest_sha256")
    return [[*(told.get(name) for name in names), Path(str(told["database"])).name] for told in run.corpora]
