"""Eight pairs by heart: what a model of any backbone, fusion and mask can do if its parts are joined rightly."""

import pytest
import torch

from tests.vlt import tiny
from vlt.device import Place
from vlt.objectives import draw
from vlt.train import Training

CPU = Place(torch.device("cpu"))
BACKBONES = ("swin_nano", "vit_nano", "resnet_nano")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("mask", ["bidirectional", "seq2seq"])
@pytest.mark.parametrize("fusion", ["cross", "merged"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_eight_pairs_are_learnt_by_heart(backbone, fusion, mask):
    settings = tiny.config(
        steps=500,
        rate=2e-3,
        mask_rate=0.6,
        augment=False,
        objectives={"mlm": 1.0},
        backbone=backbone,
        fusion=fusion,
        mask=mask,
    )
    training, batch = Training(settings, tiny.TOKENIZER, CPU), tiny.batch()
    generator = torch.Generator().manual_seed(4)
    for number in range(settings.steps):
        training.step([draw(batch, settings, tiny.TOKENIZER, generator)], number)
    training.model.eval()
    with torch.no_grad():
        asked = [draw(batch, settings.changed(mask_rate=0.15), tiny.TOKENIZER, generator) for _ in range(20)]
        found = [training.objectives(one)["mlm"] for one in asked]
    assert sum(int(one.correct) for one in found) / sum(int(one.asked) for one in found) > 0.99
