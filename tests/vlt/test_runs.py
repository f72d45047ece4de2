import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import cli
from corpus_db.read import UserError
from tests.vlt import corpus, tiny
from vlt import checkpoint, commands, runs, start
from vlt.config import Config
from vlt.runs import Corpus
from vlt.train import Training


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RGC_DATA", str(tmp_path / "data"))


def run(*words):
    return CliRunner().invoke(cli.main, words)


def trained(tmp_path, name, records=(), **settings):
    """A run's folder with these metrics."""
    made, _ = corpus.begun(tmp_path, name, **settings)
    (made.folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return made


RECORDS = (
    {"kind": "start", "step": 0, "parameters": 2_500_000},
    {"kind": "train", "step": 15, "mlm_loss": 3.0, "images_per_s": 90.0},
    {"kind": "train", "step": 25, "mlm_loss": 2.0, "images_per_s": 180.0},
    {"kind": "eval", "step": 25, "words_loss": 3.25, "gap": 0.125},
)


def test_runs_are_listed_with_their_last_scores(tmp_path):
    trained(tmp_path, "first", RECORDS)
    header, row = run("runs").stdout.splitlines()
    assert header.split()[:3] == ["run", "backbone", "M"]
    assert row.split()[:6] == [
        "first",
        "swin_nano",
        "2.5",
        "25/8",
        corpus.version(tmp_path / "images").manifest_sha256[:8],
        "112",  # 25 steps in the time of 15 at 90 and 10 at 180, and not 180, the last reading
    ]
    assert row.split()[6:8] == ["3.250", "0.125"]
    (found,) = json.loads(run("runs", "--json").stdout)
    assert found["images_per_s"] == pytest.approx(112.5)
    assert found["scores"] == {"words_loss": 3.25, "gap": 0.125} and found["training"] == {"mlm_loss": 2.0}


def test_runs_are_compared_by_the_settings_that_differ(tmp_path):
    trained(tmp_path, "a", seed=1)
    trained(tmp_path, "b", seed=2)
    trained(tmp_path, "c", seed=3)
    said = run("runs", "a", "b").stdout
    assert said.endswith("settings that differ:\n  seed: a 1, b 2\n") and "c" not in said.split("\n")[1].split()[0]


@pytest.mark.parametrize(
    "name, text", [("config.json", "{"), ("corpus.json", "[1]"), ("corpus.json", "[]"), ("config.json", '{"steps": 0}')]
)
def test_a_damaged_run_is_listed_with_its_trouble(tmp_path, name, text):
    trained(tmp_path, "good")
    (trained(tmp_path, "bad").folder / name).write_text(text)
    done = run("runs")
    assert done.exit_code == 0 and "bad: runs/bad: a damaged run" in done.stdout and "good" in done.stdout
    assert "put it back from a copy, or begin another run" in done.stdout


def test_no_runs_and_no_such_run_are_told(tmp_path):
    assert run("runs").stdout == "no runs yet; make one with: python cli.py pretrain\n"
    trained(tmp_path, "there")
    for words in (("runs", "other"), ("pretrain", "--resume", "other")):
        done = run(*words)
        assert done.exit_code == 1 and done.stderr == "Error: runs/other: no such run; there are: there\n".replace(
            "runs/other", "other" if words[0] == "pretrain" else "runs/other"
        )


def test_a_run_is_never_overwritten(tmp_path):
    made, corpora = corpus.begun(tmp_path)
    with pytest.raises(UserError, match=r"there is such a run.*--resume run"):
        runs.create(made.folder, made.config, corpora, tiny.TOKENIZER)
    (tmp_path / "runs" / "x-1").mkdir()
    assert runs.free_name("x") == "x-2"


def test_a_run_keeps_its_vocabulary_corpora_and_given_weights(tmp_path):
    corpora = [Corpus(corpus.version(tmp_path / "images"), 0.5)]
    weights = {"backbone": "/weights.pth", "text": None}
    runs.create(tmp_path / "runs" / "one", Config(seed=7), corpora, tiny.TOKENIZER, weights)
    made = runs.open_run("one")
    assert made.config.seed == 7 and made.tokenizer.sha256 == tiny.TOKENIZER.sha256 and made.weights() == weights
    assert made.corpora == [corpora[0].told()] and made.corpora[0]["weight"] == 0.5


def test_what_a_resume_may_not_change_is_refused(tmp_path):
    trained(tmp_path, "run", fusion="cross")
    done = run("pretrain", "--resume", "run", "--fusion", "merged")
    assert done.exit_code == 1 and "began with fusion 'cross', not 'merged'" in done.stderr
    for option in (("--backbone", "vit"), ("--corpus", "v2"), ("--name", "other")):
        done = run("pretrain", "--resume", "run", *option)
        assert done.exit_code == 2 and f"{option[0]} does not go with --resume" in done.stderr


@pytest.mark.parametrize(
    "cuda, given, backbone, size, says",
    [
        (False, {}, "swin_nano", 64, True),
        (False, {"backbone": "vit"}, "vit_nano", 64, True),
        (False, {"backbone": "resnet", "size": "base"}, "resnet101", 224, False),
        (False, {"preset": "paper"}, "swin_s", 224, False),
        (True, {}, "swin_s", 224, False),
        (True, {"backbone": "vit"}, "vit_s_16", 224, False),
        (True, {"size": "nano"}, "swin_nano", 64, False),
    ],
)
def test_settings_follow_the_device_the_preset_and_the_user(monkeypatch, cuda, given, backbone, size, says):
    monkeypatch.setattr("torch.cuda.is_available", lambda: cuda)
    said = []
    asked = {"backbone": None, "size": "auto", "preset": None, **given}
    found = start.settings(**asked, given={"seed": 5}, say=said.append)
    assert (found.backbone, found.image_size, found.seed) == (backbone, size, 5) and bool(said) == says


@pytest.mark.parametrize(
    ("settings", "cores", "count"),
    [
        ({}, 2, 2),
        ({}, 16, 4),  # at least 16 pairs each
        ({}, 1, 1),
        ({"batch_size": 24}, 8, 1),
        ({"batch_size": 60}, 4, 3),  # equal shares
        ({"accumulate": 4}, 4, 1),
        ({"shard": True}, 2, 1),
        ({"backbone": "swin_t"}, 2, 1),  # its operations are long enough for threads
    ],
)
def test_a_nano_model_is_trained_by_a_process_a_core(monkeypatch, settings, cores, count):
    monkeypatch.setattr("torch.get_num_threads", lambda: cores)
    assert start.processes_for(Config(**settings)) == count
    monkeypatch.setenv("WORLD_SIZE", "2")  # torchrun has started them
    assert start.processes_for(Config(**settings)) == 1


@pytest.mark.parametrize(
    ("name", "settings", "processes", "told"),
    [
        ("a/b", {}, None, "give a name without folders"),
        (None, {"batch_size": 100}, None, "the corpus has 24 training pairs; give at most those"),
        (None, {}, 3, "--processes 3: batch_size 64 is no multiple"),
    ],
)
def test_what_cannot_work_is_refused_before_a_run_takes_its_name(tmp_path, name, settings, processes, told):
    corpora = [Corpus(corpus.version(tmp_path / "images"))]
    with pytest.raises(UserError, match=told):
        start.check(name, Config(**settings), corpora, processes)
    start.check("plain", Config(), corpora, 2)
    with pytest.raises(UserError, match=r"version .* stands in it twice"):
        start.check(None, Config(), corpora * 2, None)


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """A version that `pretrain` takes for the current one."""
    made = corpus.version(tmp_path / "images")
    monkeypatch.setattr(start, "version", lambda key, db: made)
    monkeypatch.setattr(start, "leaks", lambda version, db: {})
    monkeypatch.setattr("vlt.device.peak", lambda name, where: 1e9)
    return made


@pytest.mark.parametrize(
    ("words", "environment", "told"),
    [
        (("--precision", "fp16"), {}, "precision fp16 is for CUDA; on a CPU give fp32 or auto"),
        (("--compile",), {"CXX": "no-such-compiler"}, "there is no no-such-compiler: install one, or leave --compile"),
        (("--set", "backbone=swin_giant"), {}, "backbone 'swin_giant': there is none of this name"),
        (("--backbone", "vit", "--set", "image_size=50"), {}, "image_size 50 is no multiple of ViT's patch"),
        (("--processes", "2"), {"WORLD_SIZE": "1"}, "--processes is for a CPU and without torchrun"),
    ],
)
def test_what_this_machine_or_no_model_can_do_costs_a_run_no_name(drawn, monkeypatch, words, environment, told):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    done = run("pretrain", "--name", "q5", "--steps", "1", "--set", "batch_size=8", *words)
    assert done.exit_code == 1 and told in done.stderr and not Path("runs").exists()


BRIEF = ("--name", "q5", "--backbone", "vit", "--steps", "2", "--set", "batch_size=8", "--processes", "1")


def test_a_run_that_fails_before_it_has_learnt_leaves_its_name_to_one_that_does_not(drawn, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Training, "step", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory")))
        done = run("pretrain", *BRIEF)
        assert done.exit_code == 1 and "out of memory: lower --set batch_size (8)" in done.stderr
    assert "runs/q5: removed, as nothing is learnt; its name is free" in done.stderr and not Path("runs/q5").exists()
    assert run("pretrain", *BRIEF).exit_code == 0
    done = run("pretrain", *BRIEF)
    assert done.exit_code == 1 and "there is such a run" in done.stderr and Path("runs/q5/model.safetensors").is_file()


@pytest.mark.parametrize("error", [checkpoint.Unwritten("disk"), KeyboardInterrupt(), RuntimeError("a defect")])
def test_a_run_that_can_be_gone_on_with_keeps_its_folder(drawn, monkeypatch, error):
    monkeypatch.setattr(start, "train", lambda *_: (_ for _ in ()).throw(error))
    assert run("pretrain", *BRIEF).exit_code and runs.open_run("q5")


@pytest.mark.parametrize("left", ["a checkpoint", "a record"])
def test_a_run_with_a_checkpoint_or_a_measured_step_is_never_removed(tmp_path, left):
    made = trained(tmp_path, "run", RECORDS if left == "a record" else ())
    if left == "a checkpoint":
        (made.checkpoints / "step-00000001.pt").touch()
    with pytest.raises(UserError, match="lost"), start.out_of_the_way([made], print):
        raise UserError("lost")
    assert runs.open_run("run").config == made.config and not runs.forget(made)


def test_a_corpus_without_a_readable_training_image_costs_a_run_no_name(tmp_path, monkeypatch):
    made = corpus.version(tmp_path / "images")
    lost = [replace(pair, image_path=tmp_path / "lost.png") if pair.split == "train" else pair for pair in made.pairs]
    monkeypatch.setattr(start, "version", lambda key, db: replace(made, pairs=lost))
    monkeypatch.setattr(start, "leaks", lambda version, db: {})
    done = run("pretrain", "--name", "one")
    assert done.exit_code == 1 and "its train split holds no pair with a readable image" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_corpus_that_holds_images_of_a_test_set_is_refused_with_what_to_do(tmp_path, monkeypatch):
    made = replace(corpus.version(tmp_path / "images"), excluded=("slake:test",))
    monkeypatch.setattr(start, "version", lambda key, db: made)
    held = {"vqa-rad:test": ["test/1 vqa-rad:test (bytes)"], "vqa-med-2019:test": ["test/2 ...", "test/3 ..."]}
    monkeypatch.setattr(start, "leaks", lambda version, db: held)
    done = run("pretrain", "--name", "one", "--db", "a.db")
    assert done.exit_code == 1 and "holds 1 images of vqa-rad:test, the first: test/1" in done.stderr
    # all at once, and what the version was built without already
    assert "build --exclude slake:test,vqa-med-2019:test,vqa-rad:test --db a.db" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_files_of_weights_that_do_not_fit_cost_a_run_neither_its_name_nor_a_traceback(tmp_path, monkeypatch):
    made = corpus.version(tmp_path / "images")
    monkeypatch.setattr(start, "version", lambda key, db: made)
    monkeypatch.setattr(start, "leaks", lambda version, db: {})
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pth")
    done = run("pretrain", "--backbone", "resnet", "--name", "one", "--init-backbone", "other.pth")
    assert done.exit_code == 1 and "other.pth" in done.stderr and not (tmp_path / "runs").exists()


def test_a_run_whose_words_or_environment_are_damaged_says_what_to_do(tmp_path):
    made = trained(tmp_path, "run")
    for name, read in (("vocab.txt", lambda: made.tokenizer), ("environment.json", made.weights)):
        (made.folder / name).write_text("nothing")
        with pytest.raises(UserError, match=rf"{name}: .*put it back from a copy, or begin another run"):
            read()


def test_lines_of_metrics_that_are_no_records_cost_only_themselves(tmp_path):
    made = trained(tmp_path, "run", RECORDS)
    path, before = made.folder / "metrics.jsonl", made.records()
    odd = ["garbage", '{"kind": ["x"], "step": "a"}', '{"kind": "start", "step": 0, "parameters": "many"}', "[1]"]
    odd += [f'{{"kind": "train", "step": {step}, "images_per_s": 1}}' for step in ("1e999", "NaN", "-1", "9" * 400)]
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *odd, *lines[1:], '{"kind": "tr']))
    assert made.records() == before and run("runs").exit_code == 0


def test_sizes_and_settings_that_there_are_not_are_named():
    with pytest.raises(UserError, match="swin has no size large; there are: nano, tiny, small, base"):
        start.settings("swin", "large", None, {})
    with pytest.raises(UserError, match="--set speed: no such setting; there are: accumulate"):
        start.settings(None, "auto", None, {"speed": 1})


def test_every_size_is_a_backbone_that_there_is():
    from vlt import backbones

    assert {name for sizes in commands.SIZES.values() for name in sizes.values()} == set(backbones.NAMES)


@pytest.mark.parametrize(
    "words",
    [
        ("--set", "rate"),
        ("--objectives", "mlm:x"),
        ("--corpus", "v1:0"),
        ("--corpus", "v1:nan"),
        ("--corpus", "v1:x"),
        ("--steps", "0"),
        ("--seed", "1", "--set", "seed=2"),
        ("--backbone", "vit", "--set", "backbone=swin_nano"),
    ],
)
def test_malformed_options_are_errors_of_usage(words):
    assert run("pretrain", *words).exit_code == 2


def test_curves_are_drawn_of_what_there_is(tmp_path):
    made = trained(tmp_path, "run", RECORDS)
    runs.draw_curves(made)
    assert (made.folder / "curves.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("argv", "count", "told"),
    [
        (["/a/cli.py", "pretrain", "--name", "two words"], None, "python cli.py pretrain --name 'two words'"),
        (["cli.py", "pretrain"], "2", "torchrun --nproc-per-node 2 cli.py pretrain"),
        (
            ["cli.py", "pretrain", "--db", "postgresql://me:secret@host/db"],
            None,
            "python cli.py pretrain --db postgresql://me:***@host/db",
        ),
        (["/usr/bin/pytest", "-q"], None, "/usr/bin/pytest -q"),
    ],
)
def test_a_run_notes_the_command_that_began_it_without_a_password(argv, count, told, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", argv)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if count:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", count)
    noted = json.loads((trained(tmp_path, "first").folder / "environment.json").read_text())
    assert noted["command"] == told and noted["numpy"]
