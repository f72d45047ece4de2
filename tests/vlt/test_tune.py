import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors import safe_open
from safetensors.torch import load_file

import cli
from corpus_db.read import UserError
from tests.vlt import asked, corpus, tiny
from vlt import checkpoint, optim, predict, runs, start, tune
from vlt.config import Config
from vlt.predict import Model
from vlt.tasks.base import OnCorpora
from vlt.tasks.questions import question_set
from vlt.train import Interrupted, Training, train

ROOT = Path(__file__).resolve().parents[2]
TRAIN, TEST = range(30), range(28, 34)
HERE = {"source": "vqa-rad", "protocol": "official", "language": "en", "corpora": ()}
SMALL = {"batch_size": 8, "steps": 2, "evaluate_every": 1}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RGC_DATA", str(tmp_path / "data"))
    monkeypatch.setattr("vlt.device.peak", lambda name, where: 1e9)  # it takes a second to measure
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def address(tmp_path):
    return asked.database(tmp_path, asked.two_each(TRAIN), asked.two_each(TEST))


@pytest.fixture
def source(tmp_path):
    """A model that was pre-trained, say, and its file."""
    settings = tiny.config(backbone="vit_nano", fusion_layers=1, seed=3, objectives={"mlm": 1.0, "lm": 1.0})
    model = Model(tiny.model(settings, seed=5), tiny.TOKENIZER)
    (tmp_path / "old").mkdir()
    model.save(tmp_path / "old" / "model.safetensors")
    return str(tmp_path / "old" / "model.safetensors")


def quiet(line):
    pass


def begin(origin, name, db, say=quiet, data=HERE, twin=False, **given):
    return tune.begin("vqa", origin, name, data, SMALL | given, db, 1, say, twin)


def test_a_model_stays_what_it_is_and_learns_as_the_task_or_the_user_says():
    learned = tiny.config(fusion="merged", steps=77, rate=0.5, mask_findings=0.9, objectives={"mlm": 1.0})
    found = tune.settings("vqa", learned, {"steps": 5, "width": 32})
    assert {name: getattr(found, name) for name in tune.MODEL} == {name: getattr(learned, name) for name in tune.MODEL}
    assert (found.task, found.steps, found.rate, found.patience) == ("vqa", 5, 1e-3, 4)
    assert found.objectives == {"answer": 1.0, "lm": 0.5} and found.mask_findings == Config().mask_findings
    for name, value in {"width": 64, "fusion": "cross", "backbone": "vit_nano", "max_tokens": 80}.items():
        with pytest.raises(UserError, match=rf"{name} .*: the run's model has .*a model stays what it is"):
            tune.settings("vqa", learned, {name: value})
    assert tune.settings("report", None, {"width": 32, "fusion": "merged"}).fusion == "merged"


@pytest.mark.parametrize(
    ("task", "given", "told"),
    [
        ("vqa", {"bogus": 1}, "--set bogus: no such setting"),
        ("vqa", {"objectives": {"mlm": 1.0}}, "objectives mlm: vqa learns answer or lm"),
        ("report", {"objectives": {"itc": 1.0}}, "objectives itc: report learns lm"),
        ("retrieval", {"objectives": {"itm": 1.0}}, "objectives itm: retrieval learns itc"),
        ("report", {"objectives": {"lm": 1.0, "answer": 1.0}}, "answer is vqa's alone"),
        ("vqa", {"max_tokens": 8}, "max_tokens 8: a question and its answer need 16 or more"),
    ],
)
def test_settings_that_a_task_cannot_work_with_are_refused(task, given, told):
    with pytest.raises(UserError, match=told):
        tune.settings(task, None, given)


def test_pretraining_on_answers_is_refused():
    with pytest.raises(UserError, match="answer is learnt from questions"):
        start.settings(None, "nano", None, {"objectives": {"answer": 1.0}})


def test_all_weights_that_fit_are_carried_over_and_the_new_parts_are_named():
    settings = {"backbone": "vit_nano", "fusion_layers": 1}
    old = tiny.model(tiny.config(objectives={"mlm": 1.0, "itc": 1.0}, **settings), seed=1)
    with torch.no_grad():
        for value in old.state_dict().values():
            value += 1
    torch.manual_seed(2)
    new = predict.VLT(tiny.config(objectives={"answer": 1.0, "lm": 1.0}, **settings), len(tiny.TOKENIZER), 0, 5)
    before = {name: value.clone() for name, value in new.state_dict().items()}
    said = start.carried(new, old)
    fresh = {name for name in before if name.startswith(("heads.answer", "norm_image"))} - old.state_dict().keys()
    for name, value in new.state_dict().items():
        assert torch.equal(value, before[name] if name in fresh else old.state_dict()[name]), name
    assert fresh and said == (
        f"{len(before) - len(fresh)} of {len(before)} tensors are carried over; "
        f"anew: {', '.join(sorted({'.'.join(name.split('.')[:2]) for name in fresh}))}"
    )
    assert "heads.answer" in said
    same = start.carried(tiny.model(old.config, seed=9), old)
    assert same.endswith("anew: none")
    shorter = tiny.model(tiny.config(objectives={"mlm": 1.0, "itc": 1.0}, max_tokens=16, **settings))
    assert start.carried(shorter, old).endswith("anew: text.places")  # of another shape


def test_fine_tuning_begins_with_the_runs_weights_and_keeps_its_vocabulary(source, address):
    said = []
    assert begin(source, "tuned", address, said.append, rate=0.0, steps=1) == 0
    assert any("tensors are carried over; anew: " in line and "heads.answer" in line for line in said)
    old, new = load_file(source), load_file("runs/tuned/model.safetensors")
    moving = (".mean", ".variance")  # statistics of norms, which no rate holds
    shared = [name for name in new if name in old and not name.endswith(moving)]
    assert len(shared) > 20 and all(torch.equal(old[name], new[name]) for name in shared)
    run = runs.open_run("tuned")
    assert run.tokenizer.vocabulary == tiny.TOKENIZER.vocabulary and run.config.width == 32
    assert run.weights() == {"run": str(Path(source).resolve())}
    loaded = predict.load("tuned", "cpu")
    assert loaded.answers == run.answers == ["left", "no", "right", "yes"]
    assert run.corpora == [question_set("vqa-rad", "official", "en", address).told()]


def test_from_scratch_the_words_are_those_of_the_training_questions(address, monkeypatch, tmp_path):
    version = corpus.version(tmp_path / "images", train=4, val=4)
    monkeypatch.setattr(tune, "version", lambda key, db: version)
    assert begin("none", "plain", address, **json.loads(asked.config(steps=1, task="vqa").to_json())) == 0
    words = set(runs.open_run("plain").tokenizer.vocabulary)
    assert {"side", "mass", "left", "yes"} <= words and "axial" not in words
    more = HERE | {"corpora": [("v1", 1.0)]}
    small = json.loads(asked.config(steps=1).to_json())
    assert begin("none", "more", address, data=more, **small) == 0
    assert {"side", "axial", "lobe"} <= set(runs.open_run("more").tokenizer.vocabulary)


def test_the_twin_is_the_same_but_that_it_sees_nothing(source, address):
    said = []
    assert begin(source, "seeing", address, said.append, twin=True) == 0
    one, twin = runs.open_run("seeing"), runs.open_run("seeing-blind")
    assert (one.config.blind, twin.config) == (False, one.config.changed(blind=True))
    assert one.corpora == twin.corpora and one.weights() == twin.weights() and one.answers == twin.answers
    assert any("this protocol leaks: 2 of 6 test images stand in training, too" in line for line in said)
    for name in ("first", "seeing"):  # what would be there already is told before anything is learnt
        (Path("runs") / f"{name}-blind").mkdir(exist_ok=True)
        with pytest.raises(UserError, match=f"runs/{name}-blind: there is such a run"):
            begin(source, name, address, twin=True)
    assert not Path("runs/first").exists()


def stopping(at, count=1):
    """A `say` that asks for an end when the count-th line with `at` in it is said."""
    seen = []

    def say(line):
        seen.extend([line] if at in line else [])
        if at in line and len(seen) == count:
            os.kill(os.getpid(), signal.SIGTERM)

    return say


def models(*names):
    return [(Path("runs") / name / "model.safetensors").is_file() for name in names]


@pytest.mark.parametrize(("count", "done"), [(1, [False, False]), (2, [True, False])], ids=["run", "twin"])
def test_an_interrupted_run_goes_on_with_its_twin_to_the_end_of_both(source, address, count, done):
    quick = {"steps": 4, "checkpoint_every": 1, "backbone": "vit_nano"}
    assert begin(source, "whole", address, twin=True, **quick) == 0
    assert begin(source, "cut", address, stopping("step 0: accuracy", count), twin=True, **quick) == 143
    assert models("cut", "cut-blind") == done and runs.open_run("cut-blind").config.blind
    said = []
    assert tune.resume("cut", {"task": "vqa"}, None, 1, said.append) == 0
    assert "its twin without images:" in said
    for end in ("", "-blind"):
        assert same(*(kept(runs.open_run(f"{name}{end}")) for name in ("whole", "cut")))
    assert not same(*(kept(runs.open_run(name)) for name in ("cut", "cut-blind")))


def test_a_twin_that_is_done_or_was_not_asked_for_is_left_alone(source, address):
    said = []
    assert begin(source, "both", address, twin=True) == 0
    before = (Path("runs") / "both-blind" / "model.safetensors").stat().st_mtime_ns
    assert tune.resume("both", {"task": "vqa"}, None, 1, said.append) == 0
    assert (Path("runs") / "both-blind" / "model.safetensors").stat().st_mtime_ns == before
    assert begin(source, "one", address) == 0 and tune.resume("one", {}, None, 1, said.append) == 0
    assert models("one", "one-blind") == [True, False] and not Path("runs/one-blind").exists()
    assert not any("twin" in line for line in said)


def test_a_twin_waits_for_a_run_that_does_not_end(source, address):
    assert begin(source, "cut", address, stopping("step 0: accuracy"), twin=True, steps=4) == 143
    said = []
    assert tune.resume("cut", {}, None, 1, stopping("step 2: accuracy")) == 143
    assert models("cut", "cut-blind") == [False, False] and not list(Path("runs/cut-blind/checkpoints").iterdir())
    with pytest.raises(UserError, match="it began with seed 1, not 9"):
        tune.resume("cut", {"seed": 9}, None, 1, said.append)
    assert not any("twin" in line for line in said)


def test_a_name_with_folders_and_processes_that_do_not_share_a_batch_are_refused_first(source, address):
    with pytest.raises(UserError, match="give a name without folders"):
        begin(source, "../outside", address)
    with pytest.raises(UserError, match="--processes 3: batch_size 8 is no multiple"):
        tune.begin("vqa", source, "x", HERE, SMALL, address, 3, quiet)
    assert not Path("runs").exists() and not Path("outside").exists()


def test_what_this_machine_cannot_do_is_refused_before_a_run_and_its_twin_take_their_names(source, address):
    with pytest.raises(UserError, match="precision fp16 is for CUDA"):
        begin(source, "rad", address, twin=True, precision="fp16")
    assert not Path("runs").exists()


def test_a_run_that_fails_before_it_has_learnt_leaves_its_name_and_its_twins(source, address, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Training, "step", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory")))
        with pytest.raises(UserError, match="out of memory"):
            begin(source, "rad", address, twin=True)
    assert list(Path("runs").iterdir()) == []
    assert begin(source, "rad", address, twin=True) == 0 and models("rad", "rad-blind") == [True, True]


def test_heads_learn_at_their_multiple_of_the_rate():
    settings = tiny.config(backbone="vit_nano", head_rate=5.0, backbone_rate=0.5)
    model = tiny.model(settings)
    optimizer = optim.optimiser(model, settings)
    optim.set_rate(optimizer, 2.0)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        expected = {"heads": 10.0, "backbone": 1.0}.get(name.partition(".")[0], 2.0)
        assert rates[id(parameter)] == expected, name


class Scripted(OnCorpora):
    """Scores that are written down beforehand, and the weights that got them."""

    chosen_by = "score"

    def __init__(self, corpora, scores, stop_at=None):
        super().__init__(corpora)
        self.scores, self.stop_at, self.seen = iter(scores), stop_at, []

    def evaluate(self, model, validation, tokenizer, device):
        self.seen.append({name: value.clone() for name, value in model.state_dict().items()})
        if len(self.seen) == self.stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return {"score": next(self.scores)}


def scripted(tmp_path, scores, name="run", stop_at=None, **changes):
    quick = {"steps": 12, "evaluate_every": 2, "checkpoint_every": 100, "backbone": "vit_nano", **changes}
    run, corpora = corpus.begun(tmp_path, name, objectives={"lm": 1.0}, **quick)
    return run, Scripted(corpora, scores, stop_at)


def kept(run):
    return load_file(run.folder / "model.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_best_weights_are_kept_and_not_the_last(tmp_path):
    run, task = scripted(tmp_path, [0.1, 0.3, 0.5, 0.5, 0.2, 0.4, 0.1])
    said = []
    train(run, task, said.append)
    assert len(task.seen) == 7 and same(kept(run), task.seen[2]) and not same(kept(run), task.seen[-1])
    assert said[-1] == "kept the weights of step 4: score 0.500 on validation"
    assert sorted(path.name for path in run.folder.glob("*.safetensors")) == ["model.safetensors"]


def test_a_run_stops_when_its_patience_ends_and_not_before(tmp_path):
    run, task = scripted(tmp_path, [0.1, 0.3, 0.2, 0.4, 0.3, 0.4, 9.9], patience=2)
    train(run, task, quiet)
    assert len(task.seen) == 6 and same(kept(run), task.seen[3])  # at steps 0, 2, ..., 10
    assert checkpoint.newest(run.checkpoints)[0] == 10
    kinds = [(one["kind"], one["step"]) for one in run.records()]
    assert kinds[-3:] == [("eval", 8), ("eval", 10), ("train", 10)]  # the steps since the last record, all 10
    train(run, Scripted(task.corpora, [9.9]), quiet)  # gone on with, it has ended
    assert same(kept(run), task.seen[3]) and checkpoint.newest(run.checkpoints)[0] == 10
    assert [(one["kind"], one["step"]) for one in run.records()] == kinds


def test_an_interrupted_run_remembers_its_best_and_its_patience(tmp_path):
    run, task = scripted(tmp_path, [0.1, 0.7, 0.2], stop_at=3, patience=3)
    with pytest.raises(Interrupted):
        train(run, task, quiet)
    later = Scripted(task.corpora, [0.3, 0.4, 9.9])
    train(runs.open_run(run.folder), later, quiet)
    assert len(later.seen) == 2 and same(kept(run), task.seen[1])


@pytest.mark.parametrize("scores", [[math.nan] * 7, None], ids=["no number", "no validation"])
def test_without_a_score_the_last_weights_are_kept(tmp_path, scores):
    run, task = scripted(tmp_path, scores or [])
    if scores is None:
        task.corpora = [runs.Corpus(corpus.version(tmp_path / "images", val=0))]
        run = runs.create(tmp_path / "runs" / "bare", run.config, task.corpora, tiny.TOKENIZER)
    train(run, task, quiet)
    last = checkpoint.newest(run.checkpoints)
    assert last[0] == 12 and same(kept(run), last[1]["model"])


def test_the_best_of_averaged_weights_are_the_average(tmp_path):
    run, task = scripted(tmp_path, [0.1, 0.9, 0.2, 0.2, 0.2, 0.2, 0.2], ema=0.9)
    train(run, task, quiet)
    assert same(kept(run), task.seen[1])


def command(name, address, *more):
    quick = asked.settings(steps=40, checkpoint_every=3, evaluate_every=5, backbone="vit_nano", patience=7)
    words = ["finetune", "vqa", "--from", "none", "--name", name, "--db", address, "--no-twin", "--processes", "1"]
    return [*words, *quick, *more]


def test_killed_at_a_random_moment_and_gone_on_with_it_predicts_what_it_would_have(tmp_path, address):
    done = CliRunner().invoke(cli.main, command("whole", address))
    assert done.exit_code == 0, done.output
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "cli.py"), *command("killed", address)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    folder, deadline = Path("runs/killed"), time.monotonic() + 60
    while not list(folder.glob("checkpoints/step-*.json")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    time.sleep(random.Random(4).uniform(0.0, 0.4))
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (folder / "model.safetensors").exists()
    done = CliRunner().invoke(cli.main, ["finetune", "vqa", "--resume", "killed", "--processes", "1"])
    assert done.exit_code == 0 and "going on after step" in done.output, done.output
    for name in ("whole", "killed"):
        done = CliRunner().invoke(cli.main, ["evaluate", "vqa", "--run", name])
        assert done.exit_code == 0, done.output
    told = [Path(f"runs/{name}/evaluations/vqa-test/predictions.jsonl").read_bytes() for name in ("whole", "killed")]
    assert told[0] == told[1] and told[0].count(b"\n") == 2 * len(TEST)
    assert same(*(kept(runs.open_run(name)) for name in ("whole", "killed")))
    with safe_open("runs/killed/model.safetensors", "pt") as file:
        assert json.loads(file.metadata()["answers"]) == ["left", "no", "right", "yes"]


def test_where_no_database_is_named_that_of_the_run_is_taken_and_the_help_says_so(tmp_path, address):
    asked.begun(tmp_path, address, "run", steps=1)
    assert tune._database("run") == address and tune._database("none") is None
    told = " ".join(CliRunner().invoke(cli.main, ["finetune", "vqa", "--help"]).output.split())
    assert "[default: the run's own, with --from none the one built last]" in told


def test_a_run_goes_on_only_with_its_own_answers_and_questions(tmp_path, address):
    run, task = asked.begun(tmp_path, address, "run", steps=1)
    train(run, task, quiet)
    task.answers = task.answers[:-1]
    with pytest.raises(UserError, match=r"the answers to choose from was .{12}\.\.\. when the run began and is"):
        train(run, task, quiet)
    other = asked.database(tmp_path / "other", asked.two_each(range(29)), asked.two_each(TEST))
    task.answers, task.questions = run.answers, question_set("vqa-rad", "official", "en", other)
    with pytest.raises(UserError, match=r"the manifest of version vqa-rad/official/en was"):
        train(run, task, quiet)


def test_answers_and_their_number_are_part_of_the_model(tmp_path):
    settings = asked.config(backbone="vit_nano")
    model = Training(settings, tiny.TOKENIZER, start.device.start(), answers=3).model
    predict.save(model, tiny.TOKENIZER, tmp_path / "m.safetensors", ["a", "b", "c"])
    assert predict.load(tmp_path / "m.safetensors", "cpu").answers == ["a", "b", "c"]
    predict.save(model, tiny.TOKENIZER, tmp_path / "m.safetensors", ["a", "b"])
    with pytest.raises(UserError, match="tensors are not those of its config"):
        predict.load(tmp_path / "m.safetensors", "cpu")
