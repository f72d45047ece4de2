import json
from dataclasses import replace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from corpus_db.read import UserError
from tests.vlt import corpus, tiny
from vlt import checkpoint, device, optim, runs, train
from vlt.augment import DRAWS, augment
from vlt.device import Place
from vlt.norm import BatchNorm
from vlt.objectives import Objectives, draw
from vlt.tasks.pretraining import pretrain
from vlt.train import Training, part_shares

CPU = Place(torch.device("cpu"))
BACKBONES = ("swin_nano", "vit_nano", "resnet_nano")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("RGC_DATA", str(tmp_path / "data"))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def quiet(line):
    pass


def prepared(settings, count=8):
    """A batch as the loader makes it."""
    generator = torch.Generator().manual_seed(3)
    batch = draw(tiny.batch(count), settings, tiny.TOKENIZER, generator)
    return replace(batch, augment=torch.rand(count, DRAWS, generator=generator))


def weights(training):
    return torch.cat([parameter.detach().flatten() for parameter in training.model.parameters()])


def test_a_run_leaves_all_that_its_folder_should_hold(tmp_path):
    run, corpora = corpus.begun(tmp_path, steps=3, evaluate_every=2, checkpoint_every=2)
    said = []
    pretrain(run, corpora, said.append)
    assert any("0.2 M parameters" in line and "3 steps of 8 on cpu in fp32" in line for line in said)
    kinds = [(record["kind"], record["step"]) for record in run.records()]
    assert kinds == [("start", 0), ("eval", 0), ("eval", 2), ("train", 3), ("eval", 3)]
    logged = run.records()[3]
    assert {"mlm_loss", "mlm_accuracy", "itm_loss", "itm_accuracy", "gradient_norm", "rate"} < set(logged)
    assert 0 < logged["mfu"] < 1 and 0 <= logged["data_wait"] < 1 and logged["memory_bytes"] > 1e6
    assert (run.folder / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert {"python", "torch", "threads"} < set(json.loads((run.folder / "environment.json").read_text()))
    assert (run.folder / "model.safetensors").exists()


def test_a_loss_falls():
    settings = tiny.config(steps=20, rate=3e-3, augment=False, objectives={"mlm": 1.0}, fusion_layers=1)
    training, batch = Training(settings, tiny.TOKENIZER, CPU), prepared(settings)
    losses = [training.step([batch], step).sums["mlm"][0] for step in range(20)]
    assert losses[-1] < 0.8 * losses[0]


def test_the_parts_of_a_batch_teach_what_the_whole_teaches(monkeypatch):
    monkeypatch.setattr(BatchNorm, "forward", lambda norm, x: x)  # it norms a part alone
    settings = tiny.config(steps=10, augment=False, objectives={"mlm": 1.0, "lm": 0.5}, clip=0.0)
    whole = prepared(settings)
    late = torch.arange(whole.tokens.shape[1]) > 8
    whole = replace(whole, mlm_labels=whole.mlm_labels.masked_fill(late & (whole.rows < 4)[:, None], -100))
    assert len({float(share) for share in part_shares([whole.part(number, 4) for number in range(4)])["mlm"]}) > 1
    told, gradients = [], []
    for count in (1, 2, 4):
        training = Training(settings, tiny.TOKENIZER, CPU)
        told.append(training.step([whole.part(number, count) for number in range(count)], 0))
        gradients.append(torch.cat([p.grad.flatten() for p in training.model.parameters() if p.grad is not None]))
    for other, gradient in zip(told[1:], gradients[1:], strict=True):
        for name, (loss, correct, asked) in told[0].sums.items():
            assert other.sums[name] == pytest.approx([loss, correct, asked], rel=1e-5)
        assert (gradient - gradients[0]).norm() < 1e-4 * gradients[0].norm()


def test_equal_parts_count_equally_in_matching():
    settings = tiny.config()
    parts = [prepared(settings).part(number, 4) for number in range(4)]
    shares = part_shares(parts)
    assert shares["itm"] == [0.25] * 4
    assert sum(shares["mlm"]) == 1.0 and sum(shares["lm"]) == 1.0


@pytest.mark.parametrize("backbone", ["swin_nano", "resnet_nano"])  # norms keep statistics, which must not take it in
def test_a_batch_without_a_finite_loss_changes_nothing(monkeypatch, backbone):
    settings = tiny.config(backbone=backbone, steps=10, ema=0.5, fusion_layers=1)
    training, batch = Training(settings, tiny.TOKENIZER, CPU), prepared(settings)
    training.step([batch], 0)
    before = {name: value.clone() for name, value in training.state()["model"].items()}
    average = {name: value.clone() for name, value in training.state()["average"].items()}
    monkeypatch.setattr(train, "augment", lambda images, draws: augment(images, draws) * float("nan"))
    assert not training.step([batch], 1).learnt and training.bad == 1
    for name, value in training.state()["model"].items():
        assert torch.equal(value, before[name]), name
    for name, value in training.state()["average"].items():
        assert torch.equal(value, average[name]), name
    monkeypatch.undo()
    assert training.step([batch], 2).learnt and training.bad == 0


def test_bad_batches_are_named_and_after_three_in_a_row_the_run_stops(tmp_path, monkeypatch):
    run, corpora = corpus.begun(tmp_path, steps=20, checkpoint_every=2, evaluate_every=20, fusion_layers=1)
    calls = []

    def poisoned(images, draws):
        calls.append(1)
        bad = len(calls) == 3 or len(calls) > 6
        return augment(images, draws) * (float("nan") if bad else 1.0)

    monkeypatch.setattr(train, "augment", poisoned)
    said = []
    with pytest.raises(UserError, match=r"3 batches in a row .* last good checkpoint is kept"):
        pretrain(run, corpora, said.append)
    named = [line for line in said if "batch skipped: test/" in line and "and 5 more" in line]
    assert [line.split(":")[0] for line in named] == ["step 3", "step 7", "step 8", "step 9"]
    step, state = checkpoint.newest(run.checkpoints)
    assert step == 8 and all(torch.isfinite(value).all() for value in state["model"].values())


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried ..."),
        MemoryError(),
    ],
    ids=["cuda", "allocator", "python"],
)
def test_out_of_memory_is_one_line_that_says_what_to_lower(tmp_path, monkeypatch, error):
    run, corpora = corpus.begun(tmp_path, steps=1)

    def full(*_):
        raise error

    monkeypatch.setattr(Training, "step", full)
    with pytest.raises(UserError, match=r"batch_size \(8\) or image_size \(32\).*accumulate \(1\)") as told:
        pretrain(run, corpora, quiet)
    assert "\n" not in str(told.value)


def test_another_error_is_not_taken_for_one_of_memory(tmp_path, monkeypatch):
    run, corpora = corpus.begun(tmp_path, steps=1)
    monkeypatch.setattr(Training, "step", lambda *_: (_ for _ in ()).throw(RuntimeError("shapes differ")))
    with pytest.raises(RuntimeError, match="shapes differ"):
        pretrain(run, corpora, quiet)


def test_without_a_val_split_it_learns_and_says_that_nothing_is_evaluated(tmp_path):
    corpora = [runs.Corpus(corpus.version(tmp_path / "images", val=0))]
    run = runs.create(tmp_path / "runs" / "run", corpus.config(steps=1), corpora, tiny.TOKENIZER)
    said = []
    pretrain(run, corpora, said.append)
    assert any("no val split" in line for line in said)


def test_the_rate_warms_up_and_falls_to_a_hundredth():
    settings = tiny.config(steps=100, warmup=0.1, rate=1.0)
    rates = [optim.rate(step, settings) for step in range(100)]
    assert rates[:11] == sorted(rates[:11]) and rates[10] == 1.0 and rates[10:] == sorted(rates[10:], reverse=True)
    assert 0.01 < rates[-1] < 0.011


def test_vectors_and_tables_of_places_do_not_decay_and_the_backbone_learns_at_its_share():
    for backbone in BACKBONES:
        settings = tiny.config(backbone=backbone, backbone_rate=0.25)
        model = tiny.model(settings)
        optimizer = optim.optimiser(model, settings)
        optim.set_rate(optimizer, 2.0)
        rows = {
            id(p): (group["weight_decay"], group["lr"]) for group in optimizer.param_groups for p in group["params"]
        }
        assert len(rows) == sum(1 for _ in model.parameters())
        for name, parameter in model.named_parameters():
            decay, rate = rows[id(parameter)]
            assert rate == (0.5 if name.startswith("backbone.") else 2.0)
            table = any(word in name for word in ("places", "bias_table", "class_token", "kinds"))
            assert decay == (0.0 if parameter.ndim < 2 or table else 0.05), name


def test_the_average_follows_the_weights_and_is_what_is_evaluated():
    settings = tiny.config(steps=5, ema=0.9, fusion_layers=1)
    training, batch = Training(settings, tiny.TOKENIZER, CPU), prepared(settings)
    parameter = "norm_text.weight"
    expected = training.model.state_dict()[parameter].clone()
    for step in range(3):
        training.step([batch], step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * training.model.state_dict()[parameter]
    assert torch.allclose(training.evaluated().state_dict()[parameter], expected, atol=1e-7)
    assert all(torch.isfinite(value).all() for value in training.evaluated().state_dict().values())


def test_auto_precision_is_what_the_cpu_computes_in(monkeypatch):
    for has, name in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(device, "_cpu_has_bf16", lambda has=has: has)
        assert device.precision("auto", CPU.device) == name
    with pytest.raises(UserError, match="fp16 is for CUDA"):
        device.precision("fp16", CPU.device)


@pytest.mark.parametrize("fusion", ["cross", "merged"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_forward_and_losses_leave_no_tensor_off_the_device(backbone, fusion):
    """On a fake CUDA device a tensor left on the CPU raises; no card is needed."""
    settings = tiny.config(backbone=backbone, fusion=fusion, fusion_layers=1, hard_negatives=True)
    batch, model = prepared(settings), tiny.model(settings)
    with FakeTensorMode(allow_non_fake_inputs=True) as fake:
        cuda = torch.device("cuda")
        module = Objectives(model, settings)
        for owner in module.modules():
            for name, tensor in [*owner._parameters.items(), *owner._buffers.items()]:
                if tensor is not None:
                    moved = fake.from_tensor(tensor.detach()).to(cuda)
                    kept = owner._parameters if name in owner._parameters else owner._buffers
                    kept[name] = torch.nn.Parameter(moved) if kept is owner._parameters else moved
        here = batch.mapped(lambda tensor: fake.from_tensor(tensor)).to(cuda)
        here = replace(here, images=augment(here.images, here.augment))
        outcomes = module(here)
        assert {name: one.loss.device.type for name, one in outcomes.items()} == dict.fromkeys(
            settings.objectives, "cuda"
        )


@pytest.mark.parametrize("fusion", ["cross", "merged"])
def test_the_objectives_compile_in_one_graph(fusion):
    settings = tiny.config(fusion=fusion, fusion_layers=1, hard_negatives=True)
    batch, module = prepared(settings), Objectives(tiny.model(settings), settings)
    compiled = torch.compile(module, fullgraph=True, backend="eager", dynamic=False)
    for name, outcome in compiled(batch).items():
        assert torch.allclose(outcome.loss, module(batch)[name].loss, rtol=1e-4)
