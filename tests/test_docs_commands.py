import glob
import os
import re
import shlex
import shutil
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import cli
from tests.command_lines import PAGES, ROOT, block_commands, blocks

# What is parsed (tests/test_command_tree.py) and not run, by how the command begins, and why. All else is run.
NOT_RUN = {
    "demo": "minutes; tests/vlt/test_demo.py runs it on thirty cases",
    "browse": "serves until it is stopped; tests/browser opens it",
    "review --by": "serves until it is stopped; tests/browser opens it",
    "crawl --site medpix": "the network",
    "crawl --site http": "a server that is not here; tests/rgc crawl one",
    "crawl --site URL": "a synopsis",
    "crawl --site sample:sample": "printed by the demo, in its folder",
    "import SOURCE": "a synopsis",
    **{
        f"import {source}": "a set from elsewhere; tests/corpus_db import one made up in its layout"
        for source in ("medpix2", "open-i", "roco", "medicat", "iu-xray", "mimic-cxr", "dicom", "slake", "vqa-med-2019")
    },
    "pretrain --corpus rgc:": "needs ROCO and MedICaT",
    "pretrain --corpus v3/roco": "needs ROCO and MedICaT",
    "pretrain --backbone vit --size base": "hours, or a card",
    "study": "minutes to hours; tests/vlt/studies run smaller ones",
    "report --study": "needs a study; tests/vlt report one",
    "sql --db postgresql": "a server that is not here; tests/test_docs.py asks one",
}
# An image set that can be had here stands for those that cannot, and a run or pair of the sample for the page's.
INSTEAD = {
    "vqa-rad": "sample-truth",
    "vqa-rad:test": "sample-truth:test",
    "PATH": "data/sample",
    "~/VQA_RAD": "data/sample",
    "DIR": "out",
    "data/real.db": "data/sample.db",
    "real.db": "data/sample.db",
}
SMALL = {  # what is added to a command, so that it ends in seconds
    "sample": ["--cases", "6"],
    "pretrain": ["--steps", "2", "--size", "nano", "--set", "batch_size=8", "--processes", "1"],
    "finetune": ["--steps", "2", "--set", "batch_size=8", "--processes", "1"],
    "evaluate vqa": ["--beams", "1"],
    "evaluate retrieval": ["--split", "val"],  # the images of the set that stands for VQA-RAD are all of the test split
    "evaluate report": ["--split", "val", "--beams", "1"],
}
SEVERAL_CARDS = "torchrun"


def run(*words):
    """(exit code, stdout, all that was printed), in this process, which spares seconds of imports."""
    if words[0] == "crawl":  # Twisted's reactor runs once in a process
        command = [sys.executable, str(ROOT / "cli.py"), *words]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
        return done.returncode, done.stdout, done.stdout
    found = CliRunner().invoke(cli.main, list(words))
    trace = "".join(traceback.format_exception(found.exception)) if found.exception else ""
    return found.exit_code, found.stdout, found.output + trace


def must(*words):
    code, _, printed = run(*words)
    assert code == 0, f"{shlex.join(words)}: {printed}"


@pytest.fixture(scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # more of them wait for each other where the cores are busy
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def kept(tmp_path_factory, one_thread):
    """A folder with a small sample in three versions, a run, and the files that pages name."""
    home = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.delenv("RGC_DATA", raising=False)
        must("sample", "--cases", "24", "-o", "data/sample")
        for limit in ("12", "24"):
            must("crawl", "--site", "sample:data/sample", "--limit", limit, "--db", "data/sample.db")
            must("build", "--no-audit")
        must("import", "sample-truth", "data/sample")
        must("build", "--exclude", "sample-truth:test", "--images-only")
        must("pretrain", "--backbone", "resnet", *SMALL["pretrain"], "--name", "base")
        write_files(next(iter(sorted(Path("data/sample/images").iterdir()))))
    return home


def write_files(picture):
    """What pages call scan.png, IN.jsonl and the like."""
    for folder in ("scans", "data/mine", "data/other"):
        Path(folder).mkdir()
        with Image.open(picture) as image:
            image.save(Path(folder) / "a.png")
        if folder.startswith("data/"):
            Path(folder, "notes.csv").write_text("file,caption\na.png,Axial CT of the chest without contrast.\n")
    shutil.copy("scans/a.png", "scan.png")
    Path("IN.jsonl").write_text('{"id": 1, "raw": "CT of the chest"}\n')
    Path("refs.json").write_text('{"a": ["an axial ct", "ct"], "b": "a cyst"}')
    Path("hyps.json").write_text('{"a": "an axial ct", "b": "a mass"}')


@pytest.fixture
def folder(kept, tmp_path, monkeypatch):
    """A copy of it, which a page may change."""
    shutil.copytree(kept, tmp_path / "home", symlinks=True)
    monkeypatch.chdir(tmp_path / "home")
    monkeypatch.delenv("RGC_DATA", raising=False)
    found = shutil.which  # METEOR's Java takes seconds to start; tests/vlt/metrics run it
    monkeypatch.setattr(shutil, "which", lambda name, *more: None if name == "java" else found(name, *more))


def reason(line, words):
    if line.startswith(SEVERAL_CARDS):
        return "several cards"
    return next((why for start, why in NOT_RUN.items() if f"{shlex.join(words)} ".startswith(start)), None)


def here(words):
    """The command as it can be run on the sample."""
    words = [INSTEAD.get(word, word) for word in words]
    for at, word in enumerate(words[1:], 1):
        if words[at - 1] in ("--run", "--from", "--resume") and word != "none" and not Path("runs", word).exists():
            words[at] = "base"
        elif re.fullmatch(r"synpic\d+", word):
            words[at] = name_of_a_pair()
        elif words[at - 1] == "--name" and words[0] in ("pretrain", "finetune"):
            shutil.rmtree(Path("runs", word), ignore_errors=True)
            shutil.rmtree(Path("runs", f"{word}-blind"), ignore_errors=True)
    if words[0] == "import":  # the importers keep what a relative path led to, and here the folder changes
        words[2] = str(Path(words[2]).absolute())
    elif words[0] == "sample":
        shutil.rmtree(words[words.index("-o") + 1], ignore_errors=True)
    elif words[:2] == ["finetune", "vqa"]:
        words += ["--source", "sample-truth"]
    words = [found for word in words for found in (sorted(glob.glob(word)) if "*.png" in word else [word])]
    return words + ([] if "--resume" in words else SMALL.get(words[0]) or SMALL.get(" ".join(words[:2]), []))


def name_of_a_pair():
    asked = "SELECT upstream_name FROM image_ref WHERE image_sha256 IN (SELECT sha256 FROM rgc) ORDER BY 1 LIMIT 1"
    return run("sql", "--format", "csv", asked)[1].splitlines()[-1]


COMMANDS = {page.name: list(block_commands(page.read_text(encoding="utf-8"))) for page in PAGES}


@pytest.mark.parametrize("page", [name for name, found in COMMANDS.items() if found])
def test_the_commands_of_a_page_run_one_after_the_other(folder, page):
    for line, words in COMMANDS[page]:
        if reason(line, words) is None:
            asked = here(words)
            code, _, printed = run(*asked)
            why = f"{page}: {line}\nas: {shlex.join(asked)}\n{printed}"
            assert code == 0, f"{why}\n(mend it, or say in NOT_RUN why it cannot be run)"


def test_what_is_not_run_is_still_in_a_page():
    shown = [f"{shlex.join(words)} " for found in COMMANDS.values() for _, words in found]
    assert [start for start in NOT_RUN if not any(command.startswith(start) for command in shown)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_else_a_page_tells_to_run_is_there(page):
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in (line for block in blocks(page.read_text(encoding="utf-8")) for line in block):
        words = line.removeprefix("$ ").split("#")[0].split()
        while words and "=" in words[0]:
            words = words[1:]
        if words[:1] == ["make"]:
            assert {word for word in words[1:] if "=" not in word} <= targets, line
        elif words and words[0].endswith("python") and words[1].endswith(".py") and words[1].startswith("bench/"):
            source = (ROOT / words[1]).read_text()
            assert [word for word in words if re.match(r"\[?--\w", word) and word.strip("[]") not in source] == [], line
        elif words and words[0].endswith("python") and words[1] == "-m" and words[2].startswith("rgc."):
            assert (ROOT / f"{words[2].replace('.', os.sep)}.py").is_file(), line
