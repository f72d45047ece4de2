import csv
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from corpus_db.read import UserError
from tests.vlt.studies import small
from vlt import runs, start, studies
from vlt.studies import run, table

CELLS = [f"{arm}-{seed}" for arm in ("mlm", "none") for seed in (1, 2)]
FOLDER = Path("runs/studies/tiny-sample-truth-quick")


def carried_out(declared, home, say=lambda line: None):
    """A study with its table, and its runner."""
    made = small.runner(declared, home, say)
    made.run(declared.seeds, list(declared.arms))
    table.write(declared, made.questions.name, made.folder, True)
    return made


def measured(folder=FOLDER):
    """The cells and the table, but for times."""
    cells = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("cells/*.json"))}
    for cell in cells.values():
        for part in ("tune", "pretrain"):
            (cell[part] or {}).pop("seconds", None)
    result = json.loads((folder / "result.json").read_text())
    return cells, {
        arm: {name: value for name, value in told.items() if "minutes" not in name} for arm, told in result.items()
    }


@pytest.fixture
def trained(monkeypatch):
    """The names of the runs that are made, and of those that are gone on with."""
    names = []
    make, resume = start.make, start.resume
    monkeypatch.setattr(start, "make", lambda name, *rest: (names.append(name), make(name, *rest))[1])
    monkeypatch.setattr(start, "resume", lambda name, *rest: (names.append(name), resume(name, *rest))[1])
    return names


@pytest.fixture(scope="module")
def whole(home, tmp_path_factory):
    """The folder of the tiny study, done."""
    folder = tmp_path_factory.mktemp("whole")
    done = subprocess.run(
        [sys.executable, "-m", small.__name__, str(home)], cwd=folder, env=small.environment(home), capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    return folder


@pytest.fixture
def copied(whole, place):
    shutil.copytree(whole / "runs", place / "runs")
    return place


def test_a_study_leaves_a_cell_for_each_arm_and_seed_a_table_and_a_plot(whole):
    folder = whole / FOLDER
    cells, result = measured(folder)
    assert list(cells) == CELLS
    assert sorted(path.name for path in folder.iterdir()) == [
        *("cells", "environment.json", "plot.png", "result.json", "study.json", "table.csv", "table.md")
    ]
    assert "smoke test" in (folder / "table.md").read_text() and list(result) == ["none", "mlm"]
    assert [row["arm"] for row in csv.DictReader((folder / "table.csv").open())] == ["none", "mlm"]
    for name, cell in cells.items():
        assert (cell["arm"], str(cell["seed"])) == tuple(name.split("-")) and cell["tune"]["steps"] <= 6
        assert len(cell["right"]) == len(cell["images"]) == len(cell["closed"]) > 50 and set(cell["right"]) <= {0, 1}
        assert cell["accuracy"] == pytest.approx(sum(cell["right"]) / len(cell["right"]))
        assert (cell["pretrain"] is None) == (cell["arm"] == "none")
    assert len({cell["tune"]["run"] for cell in cells.values()}) == 4  # seeds differ, too
    assert cells["mlm-1"]["pretrain"]["steps"] == 4 and "gap" in cells["mlm-1"]["pretrain"]["scores"]


def test_all_cells_are_of_the_test_questions_in_one_order(whole, home):
    cells, _ = measured(whole / FOLDER)
    asked = small.runner(small.study(), home).questions.splits["test"]
    for cell in cells.values():
        assert cell["images"] == [one.image_sha256[:16] for one in asked]
        assert cell["closed"] == [int(one.answer_type == "closed") for one in asked]


def test_models_are_kept_and_what_would_go_on_with_them_is_not(whole):
    folders = [path.parent for path in whole.glob("runs/studies/*/*/config.json")]
    assert len(folders) == 6  # two seeds, pre-trained once and fine-tuned twice
    assert all((folder / "model.safetensors").is_file() for folder in folders)
    assert not list(whole.rglob("checkpoints")) and not list(whole.rglob("best.safetensors"))


def test_a_fine_tuning_begins_with_its_arms_pretraining_of_its_seed(whole, place):
    cells, _ = measured(whole / FOLDER)
    for name, cell in cells.items():
        tuned = runs.open_run(whole / "runs" / cell["tune"]["run"])
        origin = cell["pretrain"] and str(whole / "runs" / cell["pretrain"]["run"] / "model.safetensors")
        assert tuned.weights() == {"run": origin} and str(tuned.config.seed) == name[-1]
        if cell["pretrain"]:
            first = runs.open_run(whole / "runs" / cell["pretrain"]["run"])
            assert first.config.seed == tuned.config.seed and first.config.objectives == {"mlm": 1.0}
            assert first.tokenizer.vocabulary == tuned.tokenizer.vocabulary
    words = {runs.open_run(whole / "runs" / cell["tune"]["run"]).tokenizer.sha256 for cell in cells.values()}
    assert len(words) == 1  # an arm that begins from scratch has no other words


def test_a_second_call_trains_nothing_and_changes_nothing(copied, home, trained):
    before = measured()
    carried_out(small.study(), home)
    assert trained == [] and measured() == before


def test_a_removed_cell_is_made_again_of_what_was_trained(copied, home, trained):
    before = measured()
    (FOLDER / "cells" / "mlm-2.json").unlink()
    (FOLDER / "cells" / "mlm-2.pretrain").unlink()
    carried_out(small.study(), home)
    assert trained == [] and measured() == before


def test_a_removed_run_is_trained_again_to_the_same_end(copied, home, trained):
    before = measured()
    (FOLDER / "cells" / "mlm-1.json").unlink()
    name = before[0]["mlm-1"]["tune"]["run"]
    shutil.rmtree(Path("runs") / name)
    (Path("runs") / name).mkdir()  # begun, but cut off before it was a run
    carried_out(small.study(), home)
    assert trained == [name] and measured() == before


def test_some_seeds_and_arms_are_run_and_the_rest_later(place, home, trained):
    declared = small.study()
    made = small.runner(declared, home)
    made.run([2], ["none"])
    assert [path.name for path in FOLDER.glob("cells/*.json")] == ["none-2.json"] and len(trained) == 1


def test_two_studies_share_what_they_have_in_common(copied, home, trained):
    other = small.study(
        "other", (1,), mlm={"pretrain": small.MLM}, slower={"pretrain": small.MLM, "tune": {"rate": 1e-4}}
    )
    carried_out(other, home)
    before, cells = measured()[0], measured(Path("runs/studies/other-sample-truth-quick"))[0]
    assert cells["mlm-1"] == before["mlm-1"] and cells["slower-1"]["pretrain"] == before["mlm-1"]["pretrain"]
    assert trained == [cells["slower-1"]["tune"]["run"]]
    assert runs.open_run(trained[0]).config.rate == 1e-4


def test_killed_at_a_random_moment_and_run_again_it_ends_as_one_that_never_was(whole, place, home):
    chance = random.Random(11)
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-m", small.__name__, str(home)],
            env=small.environment(home),
            stderr=subprocess.PIPE,
            text=True,
        )
        assert any(" steps of 8 on cpu" in line for line in process.stderr)  # it is about to learn
        time.sleep(chance.uniform(0.0, 0.8))
        process.kill()
        assert process.wait() == -signal.SIGKILL
        process.stderr.close()
    assert len(list(FOLDER.glob("cells/*.json"))) < 4
    said = []
    carried_out(small.study(), home, said.append)
    cells, result = measured()
    expected = measured(whole / FOLDER)
    assert cells == expected[0] and result == expected[1]
    assert not list(place.rglob("checkpoints"))


def test_an_interrupted_study_ends_with_the_runs_code_and_goes_on(whole, place, home, trained):
    def interrupting(line):
        if line.startswith("step 0: accuracy"):
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(run.Stopped) as stop:
        carried_out(small.study(), home, interrupting)
    assert stop.value.code == 128 + signal.SIGTERM and not list(FOLDER.glob("cells/*.json"))
    said = []
    carried_out(small.study(), home, said.append)
    assert trained[0] == trained[1] and len(set(trained)) == 6
    assert "going on after step 1" in said
    assert measured() == measured(whole / FOLDER)


def test_arms_matched_by_operations_agree_within_a_step(place, home, monkeypatch):
    longer = {**small.PRESETS["quick"], "pretrain": {**small.PRETRAIN, "steps": 200}}
    monkeypatch.setitem(small.PRESETS, "quick", longer)
    every = {"objectives": {"mlm": 1.0, "itm": 0.5, "itc": 0.5, "lm": 1.0}}
    both = {"objectives": {"mlm": 1.0, "itm": 1.0}}
    bigger = {"pretrain": small.MLM, "model": {"backbone": "swin_nano"}}
    told = {"mlm": small.MLM, "itm": small.ITM, "both": both, "all": every}
    declared = small.study(none={}, **{name: {"pretrain": one} for name, one in told.items()}, swin=bigger)
    made, steps = small.runner(declared, home), {}
    for name in [*told, "swin"]:
        config, task, tokenizer = made._pretraining(declared.arms[name], 1)
        flops = run._flops(config, task, tokenizer)
        steps[name], spent = config.steps, config.steps * flops
        if name == "mlm":
            wanted = spent
        assert abs(spent - wanted) <= flops, name
    assert steps["mlm"] == 200 and steps["all"] < steps["both"] < 200 and steps["swin"] < 200
    same = replace(declared.arms["both"], match="steps")
    assert made._pretraining(same, 1)[0].steps == 200


def test_a_longer_fine_tuning_spends_what_pretraining_took(place, home, monkeypatch):
    monkeypatch.setitem(small.PRESETS, "quick", {**small.PRESETS["quick"], "tune": {**small.TUNE, "evaluate_every": 1}})
    declared = small.study(seeds=(1,), none={}, longer={"spend": "mlm"}, mlm={"pretrain": small.MLM})
    made = carried_out(declared, home)
    cells, _ = measured()
    config, task, tokenizer = made._tuning(declared.arms["longer"], 1, None)
    told = cells["mlm-1"]["pretrain"]
    more = told["flops"] * told["steps"] / run._flops(config, task, tokenizer)
    assert more > 1 and cells["longer-1"]["tune"]["steps"] == 6 + round(more)  # whatever its patience would be
    assert cells["longer-1"]["pretrain"] is None
    one, other = (runs.open_run(cells[name]["tune"]["run"]).config for name in ("none-1", "longer-1"))
    assert other.changed(steps=6, patience=one.patience) == one


def test_an_arm_matched_by_time_takes_as_long_and_is_measured_once(place, home, monkeypatch, trained):
    declared = small.study(seeds=(1,), mlm={"pretrain": small.MLM}, itm={"pretrain": small.ITM, "match": "time"})
    clock = {"mlm": 0.3, "itm": 0.1}
    monkeypatch.setattr(run.Runner, "_seconds", lambda self, config, *rest: clock[next(iter(config.objectives))])
    carried_out(declared, home)
    cells, _ = measured()
    assert cells["itm-1"]["pretrain"]["steps"] == 12 and cells["mlm-1"]["pretrain"]["steps"] == 4
    (FOLDER / "cells" / "itm-1.json").unlink()
    trained.clear()
    clock["itm"] = 0.2  # the machine is busy now
    carried_out(declared, home)
    assert trained == [] and measured()[0] == cells


def test_a_steps_time_is_measured_without_leaving_anything(place, home):
    declared = small.study()
    made = small.runner(declared, home)
    assert 0 < made._seconds(*made._pretraining(declared.arms["mlm"], 1)) < 5
    assert not Path("runs").exists()


def test_cells_of_other_data_or_settings_are_refused(copied, home, monkeypatch, trained):
    before = measured()
    told = f"{FOLDER}: its cells are of other data or settings; move it away and begin again"
    (db,) = home.glob("studies/sample-*.db")
    changed = db.with_name("changed.db")
    shutil.copy(db, changed)
    with sqlite3.connect(changed) as connection:
        connection.execute("UPDATE question SET answer = 'nothing' WHERE id = (SELECT max(id) FROM question)")
    declared = small.study()
    data = run.Data({studies.MAIN: str(changed)}, "sample-truth")
    others = [
        run.Runner(declared, data, "quick", 1, lambda line: None),
        small.runner(small.study(none={}, mlm={"pretrain": small.ITM}), home),
    ]
    for one in others:
        with pytest.raises(UserError, match=f"^{told}$"):
            one.run([3], ["none"])
    monkeypatch.setitem(small.PRESETS, "quick", {**small.PRESETS["quick"], "tune": {**small.TUNE, "steps": 7}})
    with pytest.raises(UserError, match=told):
        small.runner(declared, home).run([3], ["none"])
    changed.unlink()
    assert trained == [] and measured() == before


def test_a_version_of_another_manifest_is_refused_and_another_place_is_not(copied, home, monkeypatch, trained):
    version = run.version
    monkeypatch.setattr(run, "version", lambda key, db: replace(version(key, db), database="elsewhere.db"))
    carried_out(small.study(), home)
    monkeypatch.setattr(run, "version", lambda key, db: replace(version(key, db), manifest_sha256="0" * 64))
    with pytest.raises(UserError, match="other data or settings"):
        carried_out(small.study(), home)
    assert trained == []


def test_a_damaged_note_of_what_a_study_is_of_is_told(copied, home):
    for content in ("{", "\x00"):
        (FOLDER / "study.json").write_text(content)
        with pytest.raises(UserError, match="its cells are of other data or settings"):
            carried_out(small.study(), home)


def test_another_protocol_or_preset_has_its_own_folder(place, home):
    declared = small.study()
    named = {
        ("official", "quick"): "tiny-sample-truth-quick",
        ("official", "full"): "tiny-sample-truth",
        ("image-disjoint", "quick"): "tiny-sample-truth-image-disjoint-quick",
        ("image-disjoint", "full"): "tiny-sample-truth-image-disjoint",
    }
    for (protocol, preset), name in named.items():
        made = run.Runner(declared, small.data(home, protocol=protocol), preset, 1, lambda line: None)
        assert made.folder == Path("runs/studies") / name
        assert made.questions.protocol == protocol


def test_a_corpus_that_holds_test_images_is_refused(place, home, monkeypatch):
    monkeypatch.setattr(start, "leaks", lambda version, db: {"vqa-rad:test": ["sample/1 by bytes"]})
    with pytest.raises(UserError, match="version v1 holds 1 images of vqa-rad:test"):
        small.runner(small.study(), home).run([1], ["none"])


def test_a_protocol_that_tests_what_pretraining_sees_is_refused(place, home):
    data = small.data(home, protocol="image-disjoint")
    made = run.Runner(small.study(), data, "quick", 1, lambda line: None)
    with pytest.raises(
        UserError, match=r"version v1 teaches \d images that sample-truth/image-disjoint/en tests, the fi"
    ):
        made.run([1], ["none"])
    assert not list(Path("runs").rglob("config.json"))
