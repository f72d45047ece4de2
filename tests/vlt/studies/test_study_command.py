import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import cli
from tests.vlt.studies import small
from vlt import start, studies
from vlt.studies import corpora, run

QUICK = ("--preset", "quick", "--processes", "1")


def study(*words):
    return CliRunner().invoke(cli.main, ["study", *map(str, words)])


def told(done, code=1):
    """The one line that a refusal is."""
    assert done.exit_code == code and "Traceback" not in done.output, (done.output, done.exception)
    assert isinstance(done.exception, SystemExit), done.exception
    lines = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1 and done.stderr.rstrip().splitlines()[-1] == lines[0]
    return lines[0]


@pytest.fixture
def tiny(place, monkeypatch):
    """The tiny study by its name."""
    declared = small.study()
    load = studies.load
    monkeypatch.setattr(studies, "load", lambda name: declared if name == "tiny" else load(name))
    return place


def test_a_study_is_run_and_its_table_printed_and_kept(tiny, home):
    done = study("tiny", *QUICK, "--seeds", "5", "--arms", "none")
    assert done.exit_code == 0, done.output
    folder = Path("runs/studies/tiny-sample-truth-quick")
    assert done.stdout == (folder / "table.md").read_text() and "smoke test" in done.stdout
    assert done.stderr.splitlines()[-1] == f"kept in {folder}"
    assert [path.name for path in folder.glob("cells/*.json")] == ["none-5.json"]
    assert "On sample-truth/official/en." in done.stdout
    done = study("tiny", *QUICK, "--seeds", "5,6", "--arms", "none", "--json")
    assert done.exit_code == 0
    result = json.loads(done.stdout)
    assert result == json.loads((folder / "result.json").read_text()) and list(result) == ["none"]
    assert result["none"]["seeds"] == [5, 6]


def test_a_users_own_database_and_questions_are_taken(tiny, home):
    (db,) = home.glob("studies/sample-*.db")
    words = ("tiny", *QUICK, "--db", db, "--seeds", "1", "--arms", "none")
    assert "vqa-rad: no such questions; sources here: sample, sample-truth" in told(study(*words))
    done = study(*words, "--questions", "sample-truth")
    assert done.exit_code == 0 and Path("runs/studies/tiny-sample-truth-quick/table.md").is_file(), done.output


def test_all_seeds_and_arms_are_run_where_none_is_named(tiny, monkeypatch):
    asked = []
    monkeypatch.setattr(run.Runner, "run", lambda self, seeds, arms: asked.append((seeds, arms, self.preset)))
    told(study("tiny"))  # without a cell there is no table
    assert asked == [((1, 2), ["none", "mlm"], "full")]


def test_an_interrupted_study_says_how_it_goes_on_and_ends_with_the_signals_code(tiny, monkeypatch):
    monkeypatch.setattr(start, "carry_out", lambda *rest: 143)
    done = study("tiny", *QUICK)
    assert done.exit_code == 143 and done.stderr.splitlines()[-1] == "the study goes on with the same command"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "Missing argument"),
        (("objectives", "--preset", "large"), "'large' is not one of"),
        (("objectives", "--protocol", "mine"), "'mine' is not one of"),
        (("objectives", "--seeds", "one"), "'one': give numbers with commas between"),
        (("objectives", "--seeds", "1,,2"), "'1,,2': give numbers with commas between"),
        (("objectives", "--seeds", "1,-1"), "-1: a seed is a number from 0 to"),
        (("objectives", "--arms", "mlm,best"), "--arms best: no such arm; there are none, none-longer, mlm, itm"),
        (("objectives", "--arms", ","), "no such arm"),
        (("objectives", "--questions", "vqa-rad"), "--questions goes with --db; the samples bring their own"),
        (("corpora", "--db", "mine.db"), "corpora compares samples of its own; leave --db out"),
        (("objectives", "--processes", "0"), "not in the range"),
        (("objectives", "--bogus"), "No such option"),
    ],
)
def test_options_that_cannot_be_are_told(place, monkeypatch, words, line):
    monkeypatch.setattr(corpora, "_run", None)  # before anything is made
    assert line in told(study(*words), code=2)
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("nothing",), "nothing: no such study; there are backbones, corpora, objectives, vqa-baseline"),
        (("objectives", "--db", "none.db"), "none.db: no such database"),
        (("tiny", "--db", "SAMPLE", "--questions", "slake"), "slake: no such questions"),
        (("tiny", "--processes", "3"), "--processes 3: batch_size 8 is no multiple of it"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(tiny, home, words, line):
    (db,) = home.glob("studies/sample-*.db")
    assert line in told(study(*(str(db) if word == "SAMPLE" else word for word in words)))
    assert not list(Path("runs").rglob("config.json"))


def test_a_damaged_cell_ends_the_command_with_its_name(tiny):
    folder = Path("runs/studies/tiny-sample-truth-quick/cells")
    folder.mkdir(parents=True)
    (folder / "none-1.json").write_text("{")
    line = told(study("tiny", *QUICK, "--seeds", "1", "--arms", "none"))
    assert "cells/none-1.json: cannot be read" in line and "remove it and run the study again" in line


def test_samples_are_made_by_the_script_that_was_called_and_by_the_presets_share(place, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(sys, "argv", ["here/cli.py"])
    monkeypatch.setattr(
        corpora, "_made", lambda name, recipe, share, command, say: asked.append((name, share, command))
    )
    monkeypatch.setattr(run, "Data", lambda databases, source, protocol: sys.exit(9))
    assert study("corpora", *QUICK).exit_code == 9
    assert asked == [(name, 0.01, tmp_path / "here" / "cli.py") for name in ("sample", "clean", "noisy", "ct")]
