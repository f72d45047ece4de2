"""From a rendered sample to two reports by the commands that a user would give, in a folder of their own."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from corpus_db.read import UserError

Say = Callable[[str], None]
DATABASE, RUN = Path("data", "sample.db"), Path("runs", "demo")  # in the folder, where each command keeps such things
PAGES = ("corpus.html", "run.html")
SCORES = RUN / "evaluations" / "retrieval-test" / "result.json"


@dataclass(frozen=True)
class Size:
    """How much is rendered and learnt: 400 cases and 500 steps cost five and a half minutes of a core."""

    cases: int = 400
    steps: int = 500


class Stopped(Exception):
    """A step was interrupted; what it had done is kept. `code`: what to exit with."""

    def __init__(self, code: int):
        super().__init__(code)
        self.code = code


def demo(home: Path, script: Path, say: Say, size: Size | None = None) -> list[str]:
    """Carry out what is not done yet -> the addresses of the reports.

    Each step is a command of its own, run in `home`, so that neither the user's corpus nor the user's runs are
    touched. Raises UserError where one fails, Stopped where one is interrupted.
    """
    size = size or Size()
    _take(home, size)
    shown = f"python {shlex.quote(os.path.relpath(script, home))}"
    say(f"$ cd {shlex.quote(str(home))}")
    for words in steps(home, size):
        say(f"\n$ {shown} {shlex.join(words)}")
        began = time.monotonic()
        _run([sys.executable, str(script), *words], home)
        say(f"({time.monotonic() - began:.0f} s)")
    say("")
    for line in learnt(home):
        say(line)
    return [(home / page).resolve().as_uri() for page in PAGES]


def steps(home: Path, size: Size) -> Iterator[list[str]]:
    """The commands that are still to be given; each is looked at when those before it are done."""
    if not _built(home / DATABASE):
        yield ["sample", "--cases", str(size.cases), "-o", "sample"]
        yield ["crawl", "--site", "sample:sample"]
        yield ["build"]
    yield ["sql", "SELECT modality, count(*) FROM rgc GROUP BY modality"]
    if not (home / RUN / "model.safetensors").is_file():
        often = f"evaluate_every={-(-size.steps // 4)}", f"checkpoint_every={-(-size.steps // 10)}"
        settings = [word for setting in often for word in ("--set", setting)]
        begin = ["--backbone", "resnet", "--size", "nano", "--steps", str(size.steps), *settings, "--name", RUN.name]
        yield ["pretrain", *(["--resume", RUN.name] if (home / RUN).exists() else begin)]
    if not (home / SCORES).is_file():
        yield ["evaluate", "retrieval", "--run", RUN.name]
    yield ["report", "-o", PAGES[0]]
    yield ["report", "--run", RUN.name, "-o", PAGES[1]]


def learnt(home: Path) -> Iterator[str]:
    """What the run can do beside what chance does, in three lines; the scores are those that it kept."""
    found: dict[str, Any] = json.loads((home / SCORES).read_text(encoding="utf-8"))
    ranked, chance = found["scores"]["text_to_image"]["itc"]["strict"], found["chance"]["strict"]["r10"]
    low_high = ranked.get("r10_interval")
    span = " [{:.0f}, {:.0f}]".format(*(100 * bound for bound in low_high)) if low_high else ""
    right = f"{ranked['r10']:.0%}{span}"
    records = map(json.loads, (home / RUN / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    last = [record for record in records if record["kind"] == "eval"][-1]
    yield f"Right image among the first ten of {found['pool']}, by its text: {right} (by chance {chance:.0%})."
    yield f"Image and text told from a wrong pair: {last['itm']:.0%} (by chance 50%)."
    yield (
        f"Hidden content words named, with the right image: {last['content_right']:.0%}; "
        f"with another pair's: {last['content_wrong']:.0%}."
    )


def _take(home: Path, size: Size) -> None:
    """Mark a new or empty folder as the demo's; UserError where it is something else's, as a user's own corpus."""
    mark, text = home / "demo.json", json.dumps(asdict(size))
    home.mkdir(parents=True, exist_ok=True)
    if mark.is_file():
        if mark.read_text(encoding="utf-8") != text:
            raise UserError(f"{home}: a demo of another size or version; remove it, or give another folder with -o")
    elif any(home.iterdir()):
        raise UserError(f"{home}: holds something else; give a new or empty folder with -o")
    else:
        mark.write_text(text, encoding="utf-8")


def _built(db: Path) -> bool:
    """Whether the corpus has a version; looking at a database that is not there must not make one."""
    from corpus_db.read import version

    if not db.is_file():
        return False
    try:
        return bool(version(None, str(db)).pairs)
    except UserError:
        return False


def _run(command: Sequence[str], home: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "RGC_DATA"}  # data/ of the folder
    # on busy cores threads wait for each other: beside ten jobs the evaluation took 108 s in place of 5
    environment.setdefault("OMP_NUM_THREADS", "1")
    child = subprocess.Popen(command, cwd=home, env=environment)
    with _passing_on(child) as asked:
        code = child.wait()
    if asked or code in (130, 143):
        raise Stopped(128 + asked[0] if asked else code)
    if code:
        raise UserError(
            f"{command[2]} ended with exit code {code}; its reason is above; then give the same command again"
        )


@contextmanager
def _passing_on(child: "subprocess.Popen[bytes]") -> Iterator[list[int]]:
    """Let the step end by itself when a signal comes; a terminal's Ctrl-C reaches it without us, SIGTERM does not."""
    asked: list[int] = []

    def note(number: int, _: object) -> None:
        asked.append(number)
        if number == signal.SIGTERM:
            child.terminate()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
