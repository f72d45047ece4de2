"""Two processes joined by Gloo, each with half of every batch, beside one that has it whole."""

from typing import Any

import pytest
import torch

from tests.vlt import corpus
from tests.vlt.joined import on_ranks
from vlt.tasks.pretraining import pretrain


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("RGC_DATA", str(tmp_path / "data"))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def losses(run):
    records = [record for record in run.records() if record["kind"] == "train"]
    return [{name: value for name, value in one.items() if name.endswith(("_loss", "_accuracy"))} for one in records]


ALL = dict.fromkeys(("mlm", "itm", "itc", "lm"), 1.0)
RUNS: dict[str, dict[str, Any]] = {
    "swin": {"backbone": "swin_nano", "objectives": ALL},
    "vit in two parts": {"backbone": "vit_nano", "objectives": ALL, "accumulate": 2},
    "shared out": {"backbone": "vit_nano", "objectives": ALL, "accumulate": 2, "shard": True},
    "contrast alone": {"backbone": "vit_nano", "objectives": {"itc": 1.0}},  # the fusion is idle
}


def test_two_ranks_learn_what_one_learns(tmp_path):
    same = {"dropout": 0.0, "drop_path": 0.0, "fusion_layers": 1, "steps": 4, "evaluate_every": 4}
    alone = {name: corpus.begun(tmp_path, f"{name} alone", **same, **settings) for name, settings in RUNS.items()}
    for run, corpora in alone.values():
        pretrain(run, corpora, lambda line: None)
    joined = {name: corpus.begun(tmp_path, name, **same, **settings)[0] for name, settings in RUNS.items()}
    said = on_ranks(list(joined.values()))
    assert said[0].count("on cpu x 2 in fp32") == len(RUNS) and "on cpu x 2" not in said[1]  # one speaks for all
    for name, two in joined.items():
        one = alone[name][0]
        for a, b in zip(losses(one), losses(two), strict=True):
            assert a.keys() == b.keys() and a == pytest.approx(b, rel=2e-4)
        before, after = (
            torch.load(max(run.checkpoints.glob("*.pt")), weights_only=True)["model"] for run in (one, two)
        )
        assert sum((before[key] - after[key]).float().norm() ** 2 for key in before) ** 0.5 < 1e-2
        assert sorted(path.name for path in two.folder.iterdir()) == sorted(path.name for path in one.folder.iterdir())


def test_a_run_shared_out_over_two_ranks_goes_on_where_it_was(tmp_path):
    settings = {"shard": True, "backbone": "vit_nano", "fusion_layers": 1, "steps": 4, "checkpoint_every": 2}
    run, _ = corpus.begun(tmp_path, "shared out", **settings)
    on_ranks([run])
    newest = max(run.checkpoints.glob("*.pt"))
    before = torch.load(newest, weights_only=True)
    for path in run.checkpoints.glob(f"{newest.stem}*"):
        path.unlink()
    assert "going on after step 2" in on_ranks([run])[0]
    after = torch.load(newest, weights_only=True)
    assert all(torch.equal(before["model"][name], after["model"][name]) for name in before["model"])
    moments = before["optimizer"]["state"]
    assert all(torch.equal(moments[name]["exp_avg"], after["optimizer"]["state"][name]["exp_avg"]) for name in moments)
