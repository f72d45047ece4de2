"""What a run and the runs before it learnt from, looked at for what is to be tested."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from corpus_db.read import UserError, Version, version
from vlt import runs
from vlt.tasks import questions

Doubt = Callable[[str, object], None]  # what cannot be looked at, and why


def unchecked(asked: questions.QuestionSet, origin: str, db: str | None, say: Callable[[str], None]) -> list[str]:
    """What a run, or one that it comes from, learnt from and cannot be looked at; said with the reason, too.

    `db`: where to look for what does not lie any more where it did. Raises `questions.Leak` where something that is
    tested was learnt.
    """
    doubts: list[str] = []

    def doubt(what: str, why: object) -> None:
        doubts.append(f"what {what} learnt from cannot be looked at, so it may hold test images")
        say(f"{doubts[-1]}: {why}")

    for run in _ancestry(origin, doubt):
        for told in run.corpora:
            if why := _hindered(asked, run.folder.name, told, db):
                doubt(f"{run.folder.name} ({told['version']}, manifest {str(told['manifest_sha256'])[:8]})", why)
    return doubts


def _hindered(asked: questions.QuestionSet, run: str, told: Mapping[str, Any], db: str | None) -> str:
    """Look at what corpus.json tells of; why that cannot be done, "" where it was. Leak where it holds what is tested.

    What counts is the hash: in the database noted there, the given one and the one that was built last, in this order.
    """
    missed = []
    noted = str(told["database"])
    for place in dict.fromkeys([*([] if "***" in noted else [noted]), db or None, None]):
        try:
            found = questions.again(told, place) if "questions" in told else _version(told, place)
        except UserError as error:
            missed.append(str(error))
            continue
        if isinstance(found, questions.QuestionSet):
            questions.refuse_learnt(asked, found, run)  # one that has changed since still holds much of what it held
            digest = found.sha256
        else:
            digest = found.manifest_sha256
            if digest == told["manifest_sha256"]:
                questions.refuse_tested(asked, found)
        if digest == told["manifest_sha256"]:
            return ""
        missed.append(f"{found.database}: its {found.name} is another")
    return "; ".join(dict.fromkeys(missed))


def _version(told: Mapping[str, Any], place: str | None) -> Version:
    """A database's version of the hash that is told, whatever its name; else that of the name, as a part has it."""
    try:
        return version(str(told["manifest_sha256"]), place)
    except UserError:
        return version(str(told["version"]), place)


def _ancestry(origin: str, doubt: Doubt) -> Iterator[runs.Run]:
    """A run, the run that it began with, and so on."""
    place: str | None = origin
    seen: set[str] = set()
    while place is not None and place not in seen:
        seen.add(place)
        path = Path(place)
        folder = path.parent if path.is_file() else path
        try:
            run = runs.open_run(folder if path.is_file() else place)
            place = run.weights().get("run")
        except UserError as error:
            doubt(folder.name, error)
            return
        yield run
