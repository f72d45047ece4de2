import dataclasses

import pytest
import torch

from tests.vlt import tiny
from vlt.norm import BatchNorm
from vlt.objectives import Objectives, draw

FORMS = [(fusion, mask) for fusion in ("cross", "merged") for mask in ("bidirectional", "seq2seq")]
BACKBONES = ("swin_nano", "vit_nano", "resnet_nano")


def words_out(model, batch, mask, tokens=None, images=None):
    image = model.encode_image(batch.images if images is None else images)
    text = model.encode_text(batch.tokens if tokens is None else tokens, batch.present, mask)
    return model.fuse(text, image, batch.present, mask)


def shaken(model):
    """Random values for all that starts at zero, so that nothing is unread for that alone."""
    torch.manual_seed(1)
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.05)
    return model.eval()


@pytest.mark.parametrize("fusion", ["cross", "merged"])
def test_seq2seq_word_i_does_not_see_a_later_word_by_any_way(fusion):
    model, batch = shaken(tiny.model(tiny.config(fusion=fusion, fusion_layers=3))), tiny.batch()
    other = batch.tokens.clone()
    changed = 4
    other[:, changed] = torch.where(other[:, changed] == 7, 8, 7)
    before, after = words_out(model, batch, "seq2seq"), words_out(model, batch, "seq2seq", tokens=other)
    assert torch.equal(before.text[:, :changed], after.text[:, :changed])
    assert (before.text[:, changed:] != after.text[:, changed:]).any(-1)[batch.present[:, changed:]].all()
    assert torch.equal(before.image, after.image)


@pytest.mark.parametrize("fusion", ["cross", "merged"])
def test_bidirectional_every_word_and_image_token_sees_a_changed_word(fusion):
    model, batch = shaken(tiny.model(tiny.config(fusion=fusion))), tiny.batch()
    other = batch.tokens.clone()
    other[:, 4] = torch.where(other[:, 4] == 7, 8, 7)
    before, after = words_out(model, batch, "bidirectional"), words_out(model, batch, "bidirectional", tokens=other)
    assert (before.text != after.text).any(-1)[batch.present].all()
    assert (before.image != after.image).any(-1).all()


@pytest.mark.parametrize("fusion,mask", FORMS)
def test_every_word_sees_the_image(fusion, mask):
    model, batch = shaken(tiny.model(tiny.config(fusion=fusion))), tiny.batch()
    before = words_out(model, batch, mask)
    after = words_out(model, batch, mask, images=255 - batch.images)
    assert (before.text != after.text).any(-1).all()


@pytest.mark.parametrize("fusion,mask", FORMS)
def test_padding_changes_nothing(fusion, mask):
    model, batch = shaken(tiny.model(tiny.config(fusion=fusion))), tiny.batch()
    padded = {name: torch.nn.functional.pad(getattr(batch, name), (0, 4), value=value)
              for name, value in (("tokens", tiny.TOKENIZER.pad), ("present", False))}  # fmt: skip
    before, after = words_out(model, batch, mask), words_out(model, dataclasses.replace(batch, **padded), mask)
    there = batch.present
    torch.testing.assert_close(before.text[there], after.text[:, : there.shape[1]][there], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(before.image, after.image, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("fusion,mask", FORMS)
@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("objectives", [("mlm",), ("mlm", "itm"), ("lm",), ("mlm", "itm", "itc", "lm")])
def test_every_parameter_gets_a_gradient(backbone, fusion, mask, objectives):
    settings = tiny.config(backbone=backbone, fusion=fusion, mask=mask, objectives=dict.fromkeys(objectives, 1.0))
    model = tiny.model(settings).train()
    batch = draw(tiny.batch(), settings, tiny.TOKENIZER, torch.Generator().manual_seed(0))
    sum(outcome.loss for outcome in Objectives(model, settings)(batch).values()).backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert without == []


@pytest.mark.parametrize("channels,given", [(1, 1), (3, 3)])
def test_images_of_uint8_and_of_floats_in_0_to_1_are_the_same(channels, given):
    model = tiny.model(tiny.config(channels=channels)).eval()
    images = tiny.batch(channels=given).images
    torch.testing.assert_close(model.encode_image(images), model.encode_image(images / 255))


def test_a_blind_twin_tells_no_image_from_another():
    model, batch = tiny.model(tiny.config(blind=True)).eval(), tiny.batch()
    tokens = model.encode_image(batch.images)
    assert torch.equal(tokens, tokens[:1].expand_as(tokens))


def test_embeddings_are_unit_vectors():
    model, batch = tiny.model(tiny.config()).eval(), tiny.batch()
    image = model.embed_image(model.encode_image(batch.images))
    text = model.embed_text(model.encode_text(batch.tokens, batch.present))
    for vectors in (image, text):
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(8))


def test_in_training_a_random_share_of_the_image_tokens_is_left_out_and_in_use_none():
    model, images = tiny.model(tiny.config(token_drop=0.25, backbone="vit_nano")), tiny.batch().images
    whole = model.train(False).encode_image(images)
    model.norm_tokens.train(False)
    model.training = True  # the model alone: its norm goes on with what it has
    some, others = model.encode_image(images), model.encode_image(images)
    assert whole.shape[1] == 16 and some.shape[1] == 12
    for one, all_ in zip(some, whole, strict=True):
        assert torch.isin(one, all_).all()
    assert not torch.equal(some, others)


@pytest.mark.parametrize("dim", [-1, 1])
def test_in_training_a_batch_norm_gives_mean_0_and_variance_1_over_the_batch_and_later_those_of_training(dim):
    x = (torch.randn(50, 4, 2, 3) * torch.tensor([1.0, 5.0, 0.1]) + 7).movedim(-1, dim)
    norm, others = BatchNorm(3, dim, momentum=1.0), [axis for axis in range(4) if axis != dim % 4]
    found = norm.train()(x)
    assert found.mean(others).abs().max() < 1e-4 and (found.var(others) - 1).abs().max() < 0.02
    assert torch.allclose(norm.eval()(x[:1]), found[:1], atol=1e-5)
