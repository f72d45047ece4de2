import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

import cli
from corpus_db import recent
from corpus_db.errors import UserError
from vlt import demo

ROOT = Path(__file__).resolve().parents[2]
TINY = demo.Size(cases=30, steps=4)
STUB = """
import pathlib, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in a shell's background begins with SIGINT ignored
words = sys.argv[1:]
with open("called", "a") as file:
    print(*words, file=file)
at = pathlib.Path(words[0] + ".does")
does = at.read_text() if at.exists() else ""
if does == "wait":
    pathlib.Path("waiting").touch()
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        sys.exit(130)
sys.exit(int(does or 0))
"""
HIDDEN = {"kind": "eval", "itm": 0.855, "content_right": 0.44, "content_wrong": 0.32}
FOUND = {
    "pool": 142,
    "scores": {"text_to_image": {"itc": {"strict": {"r10": 0.63, "r10_interval": [0.546, 0.709]}}}},
    "chance": {"strict": {"r10": 0.07}},
}


@pytest.fixture
def home(tmp_path):
    return tmp_path / "a demo"


@pytest.fixture
def stub(tmp_path, monkeypatch):
    """A script in place of cli.py that notes what it was asked for, and ends as NAME.does in its folder says."""
    script = tmp_path / "stub.py"
    script.write_text(STUB)
    monkeypatch.setattr(demo, "_built", lambda db: db.exists())
    return script


def begun(home, cases=30):
    home.mkdir()
    (home / "demo.json").write_text(json.dumps({"cases": cases, "steps": 4}))


def scored(home):
    """What evaluate leaves, as far as the demo reads it."""
    (home / demo.SCORES).parent.mkdir(parents=True)
    (home / demo.SCORES).write_text(json.dumps(FOUND))
    (home / demo.RUN / "metrics.jsonl").write_text(json.dumps(HIDDEN) + "\n")


def called(home):
    return [line.split()[0] for line in (home / "called").read_text().splitlines()]


def test_the_steps_are_commands_in_the_folder_and_are_shown(home, stub):
    said = []
    begun(home)
    scored(home)
    addresses = demo.demo(home, stub, said.append, TINY)
    assert called(home) == ["sample", "crawl", "build", "sql", "pretrain", "report", "report"]
    assert said[0] == f"$ cd '{home}'"
    assert "\n$ python ../stub.py sample --cases 30 -o sample" in said
    assert said[-3:] == [
        "Right image among the first ten of 142, by its text: 63% [55, 71] (by chance 7%).",
        "Image and text told from a wrong pair: 86% (by chance 50%).",
        "Hidden content words named, with the right image: 44%; with another pair's: 32%.",
    ]
    assert addresses == [f"file://{str(home).replace(' ', '%20')}/{page}" for page in ("corpus.html", "run.html")]


def test_a_score_without_an_interval_is_told_without_one(home):
    scored(home)
    found = json.loads(json.dumps(FOUND))
    del found["scores"]["text_to_image"]["itc"]["strict"]["r10_interval"]
    (home / demo.SCORES).write_text(json.dumps(found))
    assert "by its text: 63% (by chance 7%)." in next(demo.learnt(home))


def test_what_is_done_is_not_done_again(home):
    home.mkdir()
    names = [words[0] for words in demo.steps(home, TINY)]
    assert names == ["sample", "crawl", "build", "sql", "pretrain", "evaluate", "report", "report"]
    (home / "runs" / "demo").mkdir(parents=True)
    assert ["pretrain", "--resume", "demo"] in list(demo.steps(home, TINY))
    (home / "runs" / "demo" / "model.safetensors").touch()
    assert "pretrain" not in [words[0] for words in demo.steps(home, TINY)]


def test_a_step_that_fails_is_named_and_ends_the_demo(home, stub):
    begun(home)
    (home / "crawl.does").write_text("1")
    with pytest.raises(UserError, match="crawl ended with exit code 1; its reason is above"):
        demo.demo(home, stub, lambda line: None, TINY)
    assert called(home) == ["sample", "crawl"]


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_lets_the_step_end_and_stops_the_demo(home, stub, number, code):
    begun(home)
    (home / "crawl.does").write_text("wait")
    program = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from vlt import demo
demo._built = lambda db: False
try:
    demo.demo(Path({str(home)!r}), Path({str(stub)!r}), print, demo.Size(30, 4))
except demo.Stopped as stop:
    sys.exit(stop.code)
"""
    process = subprocess.Popen([sys.executable, "-c", program], start_new_session=True, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (home / "waiting").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    if number == signal.SIGINT:  # a terminal's reaches the whole group
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    assert process.wait(30) == code
    assert called(home) == ["sample", "crawl"]


@pytest.mark.parametrize("held", ["data", "notes.txt"])
def test_a_folder_that_holds_something_else_is_left_alone(tmp_path, stub, held):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / held).touch()
    with pytest.raises(UserError, match="holds something else"):
        demo.demo(tmp_path / "home", stub, lambda line: None, TINY)
    assert os.listdir(tmp_path / "home") == [held]


def test_a_demo_of_another_size_is_refused(home, stub):
    begun(home, cases=1)
    with pytest.raises(UserError, match="another size"):
        demo.demo(home, stub, lambda line: None, TINY)


def test_from_nothing_to_two_reports_beside_a_users_own_corpus(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RGC_DATA", raising=False)
    monkeypatch.setattr(demo, "Size", lambda: TINY)
    monkeypatch.setattr(sys, "argv", [str(ROOT / "cli.py"), "demo"])
    recent.remember("built", "data/mine.db")
    done = CliRunner().invoke(cli.main, ["demo"])
    assert done.exit_code == 0, done.output
    last = done.stdout.splitlines()[-1]
    pages = [Path(address.removeprefix("file://")) for address in re.findall(r"file://\S+", last)]
    assert [page.parent for page in pages] == [tmp_path / "data" / "demo"] * 2
    assert all("<title>" in page.read_text() for page in pages)
    assert recent.recall("built") == "data/mine.db"
    assert sorted(os.listdir(tmp_path)) == ["data"]
