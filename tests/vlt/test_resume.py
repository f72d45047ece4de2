import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from corpus_db.read import UserError
from tests.vlt import corpus
from vlt import checkpoint, runs
from vlt.tasks.pretraining import pretrain

ROOT = Path(__file__).resolve().parent.parent.parent
TIMINGS = {"images_per_s", "data_wait", "mfu", "memory_bytes"}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("RGC_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def start(run):
    """A process that trains the run, once it has begun to."""
    command = [sys.executable, "-m", "tests.vlt.corpus", str(run.folder)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert any(line.startswith(f"{run.folder}: ") for line in process.stderr)  # it says what it is about to do
    deadline = time.monotonic() + 30
    while "step" not in str(sorted(run.folder.glob("checkpoints/step-*"))) and run.config.checkpoint_every < 100:
        assert time.monotonic() < deadline, "no checkpoint"
        time.sleep(0.02)
    return process


def measured(run):
    """What metrics.jsonl holds, but for times."""
    return [{key: value for key, value in record.items() if key not in TIMINGS} for record in run.records()]


def learnt(run):
    state = checkpoint.newest(run.checkpoints)[1]
    return [*state["model"].values(), *(state["average"] or {}).values()]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(learnt(one), learnt(other), strict=True))


def quiet(line):
    pass


def test_killed_at_random_moments_a_run_ends_as_one_that_never_was(tmp_path):
    settings = {"steps": 26, "checkpoint_every": 3, "evaluate_every": 13, "ema": 0.9}
    whole, corpora = corpus.begun(tmp_path, "whole", **settings)
    pretrain(whole, corpora, quiet)
    killed, _ = corpus.begun(tmp_path, "killed", **settings)
    chance = random.Random(5)
    for _ in range(2):
        process = start(killed)
        time.sleep(chance.uniform(0.0, 0.6))
        process.kill()
        assert process.wait() == -signal.SIGKILL
        process.stderr.close()
    assert checkpoint.newest(killed.checkpoints)[0] < 26
    pretrain(killed, corpora, quiet)
    assert same(whole, killed)
    assert measured(whole) == measured(killed)
    files = [load_file(run.folder / "model.safetensors") for run in (whole, killed)]
    assert all(torch.equal(files[0][name], files[1][name]) for name in files[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_a_run_saves_first(tmp_path, number):
    run, _ = corpus.begun(tmp_path, steps=100_000, checkpoint_every=100_000, evaluate_every=100_000)
    process = start(run)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert 0 < checkpoint.newest(run.checkpoints)[0] < 100_000


def test_a_damaged_newest_checkpoint_costs_only_its_steps(tmp_path):
    run, corpora = corpus.begun(tmp_path, "run")
    pretrain(run, corpora, quiet)
    before, measures = learnt(run), measured(run)
    newest = max(run.checkpoints.glob("*.pt"))
    with open(newest, "r+b") as file:
        file.seek(newest.stat().st_size // 2)
        file.write(b"damaged!")
    said = []
    pretrain(run, corpora, said.append)
    assert "step-00000008.pt: damaged" in said[0] and "going on after step 6" in said[1]
    assert all(torch.equal(a, b) for a, b in zip(before, learnt(run), strict=True))
    assert measured(run) == measures


def test_a_run_without_a_whole_checkpoint_is_not_begun_anew(tmp_path):
    run, corpora = corpus.begun(tmp_path)
    pretrain(run, corpora, quiet)
    for file in run.checkpoints.glob("*.pt"):
        file.write_bytes(b"")
    with pytest.raises(UserError, match="none of its checkpoints is whole"):
        pretrain(run, corpora, quiet)


@pytest.mark.parametrize("begun", [True, False], ids=["with a checkpoint", "before the first checkpoint"])
def test_other_settings_data_or_words_are_refused_by_name(tmp_path, begun):
    run, corpora = corpus.begun(tmp_path, steps=1)
    if begun:
        pretrain(run, corpora, quiet)
    other = [runs.Corpus(corpus.version(tmp_path / "images", train=23))]
    with pytest.raises(UserError, match=r"manifest of version v1 was .{12}\.\.\. when the run began and is"):
        pretrain(run, other, quiet)
    purged = replace(corpora[0].version, pairs=corpora[0].version.pairs[1:])  # a purge leaves the manifest as it was
    with pytest.raises(UserError, match=r"number of pairs of version v1 was 30 .* is 29 now"):
        pretrain(run, [runs.Corpus(purged)], quiet)
    with pytest.raises(UserError, match=r"weight of version v1 was 1\.0 .* is 2\.0 now"):
        pretrain(run, [runs.Corpus(corpora[0].version, 2.0)], quiet)
    if begun:
        changed = runs.Run(run.folder, run.config.changed(rate=0.5), run.corpora)
        with pytest.raises(UserError, match=r"rate was 0\.003 .* is 0\.5 now"):
            pretrain(changed, corpora, quiet)
        words = (run.folder / "vocab.txt").read_text()
        (run.folder / "vocab.txt").write_text(words + "more\n")
        with pytest.raises(UserError, match="vocabulary was"):
            pretrain(run, corpora, quiet)


def test_a_line_of_metrics_that_a_crash_cut_short_is_dropped(tmp_path):
    run, corpora = corpus.begun(tmp_path, steps=1)
    pretrain(run, corpora, quiet)
    whole = run.records()
    with open(run.folder / "metrics.jsonl", "a") as file:
        file.write('{"kind": "train", "st')
    pretrain(run, corpora, quiet)
    lines = (run.folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == whole


def test_one_process_at_a_time_trains_a_run(tmp_path):
    run, corpora = corpus.begun(tmp_path)
    with runs.held(run), pytest.raises(UserError, match="another process is training this run"):
        pretrain(run, corpora, quiet)
