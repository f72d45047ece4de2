import json
import subprocess
from pathlib import Path

import pytest

from corpus_db.read import UserError
from tests.vlt.studies import small
from vlt import studies
from vlt.studies import corpora


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """What the project's commands would be asked, which are not run; a build leaves its database."""
    found = []
    monkeypatch.setenv("RGC_DATA", str(tmp_path))

    def run(command, step, home):
        found.append([str(word) for word in step])
        assert (command, home) == (Path("cli.py"), tmp_path / "studies")
        if step[0] == "sample":
            folder = Path(step[step.index("-o") + 1])
            folder.mkdir()
            (folder / "truth.jsonl").touch()
        if step[0] == "build":
            Path(step[-1]).touch()

    monkeypatch.setattr(corpora, "_run", run)
    monkeypatch.setattr(corpora, "version", lambda key, db: None)
    monkeypatch.setattr(corpora, "questions", lambda source, split, db: ["one"])
    return found


def prepared(study, share):
    return corpora.prepared(study, share, Path("cli.py"), lambda line: None)


def test_the_corpora_of_a_study_are_rendered_crawled_and_built_by_their_recipes(asked, tmp_path):
    found = prepared(studies.load("corpora"), 0.5)
    assert list(found) == ["sample", "clean", "noisy", "ct"] and len(set(found.values())) == 4
    steps = {name: [step for step in asked if any(f"/{name}-" in word for word in step)] for name in found}
    assert [step[0] for step in steps["sample"]] == ["sample", "crawl", "import", "build"]
    assert steps["sample"][-1][1:3] == ["--exclude", "sample-truth:test"]  # its test images are not learnt from
    assert steps["sample"][2][1] == "sample-truth" and steps["sample"][1][2].startswith("sample:")
    for name in ("clean", "noisy", "ct"):
        assert [step[0] for step in steps[name]] == ["sample", "crawl", "build"]
        assert steps[name][-1][-2:] == ["--db", found[name]]
    told = {name: dict(zip(some[0][1:-2:2], some[0][2:-2:2], strict=True)) for name, some in steps.items()}
    assert told["sample"] == {"--cases": "600", "--noise": "medpix", "--seed": "1"}
    assert told["clean"] == {"--cases": "150", "--noise": "none", "--seed": "21"}
    assert told["ct"] == {"--cases": "450", "--noise": "none", "--modality": "ct", "--seed": "23"}


def test_what_is_there_is_not_made_again_and_another_share_is_another_corpus(asked):
    study = small.study()
    first = prepared(study, 0.5)
    count = len(asked)
    assert prepared(study, 0.5) == first and len(asked) == count == 4
    assert prepared(study, 1.0)["sample"] != first["sample"] and len(asked) == 8
    assert (prepared(study, 0.001), asked[-4][1:3])[1] == ["--cases", "12"]  # fewer cases make no corpus


@pytest.mark.parametrize("missing", ["version", "questions"])
def test_a_corpus_that_was_cut_off_is_made_to_its_end(asked, monkeypatch, missing):
    study = small.study()
    prepared(study, 0.5)
    asked.clear()

    def none(*rest):
        raise UserError("there is none")

    monkeypatch.setattr(corpora, missing, none)
    prepared(study, 0.5)
    assert [step[0] for step in asked] == ["crawl", "import", "build"]  # the cases are drawn


def test_a_command_that_fails_ends_the_study_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("RGC_DATA", str(tmp_path))
    failing = tmp_path / "failing.py"
    failing.write_text("import sys; sys.exit(3)")
    with pytest.raises(UserError, match=r"^sample ended with 3; its reason is above; then run the study again$"):
        corpora.prepared(small.study(), 0.01, failing, lambda line: None)


def test_the_commands_run_apart_from_the_users_own_data(tmp_path, monkeypatch):
    asked = []

    def run(words, env, stdout):
        asked.append((words[1:], env["RGC_DATA"]))
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(corpora.subprocess, "run", run)
    corpora._run(Path("cli.py"), ["crawl"], tmp_path / "apart")
    assert asked == [(["cli.py", "crawl"], str(tmp_path / "apart"))]


def test_the_real_commands_leave_a_version_and_questions_and_the_users_note_as_it_was(place, home, monkeypatch):
    from tests.vlt.studies.conftest import RECENT

    assert (home / "recent.json").read_text() == RECENT
    (db,) = home.glob("studies/sample-*.db")
    assert json.loads((home / "studies" / "recent.json").read_text())["built"] == db.name
    found = corpora.version(None, str(db))
    assert found.excluded == ("sample-truth:test",) and {pair.split for pair in found.pairs} >= {"train", "val"}
    tested = {one.image_sha256 for one in corpora.questions("sample-truth", "test", str(db))}
    assert tested and not tested & {pair.sha256 for pair in found.pairs}
    monkeypatch.setattr(corpora, "_run", None)  # nothing is left to do
    assert corpora.prepared(small.study(), 0.01, Path("cli.py"), print) == {"sample": str(db)}
