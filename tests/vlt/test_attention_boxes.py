import numpy as np
import pytest
import torch

from bench import attention
from bench.attention import overlap
from tests.vlt import tiny
from tests.vlt.test_attention_maps import FUSIONS, built
from vlt.attention_maps import Reread, of_texts
from vlt.pack import letterbox

NAMES = tiny.TOKENIZER


def looking(model):
    """The same model, whose every word looks where the first number of an image token is large."""
    part = model.fusion.text[0] if model.config.fusion == "cross" else model.fusion.layers[0]
    with torch.no_grad():
        weight, bias = part.attention.qkv.weight, part.attention.qkv.bias
        weight[:64] = 0
        bias[[0, 16]] = 100.0  # the query of either head, whatever the word
        weight[[32, 48], 0] = 1.0  # its key: the first number of a token
        for reading in getattr(model.fusion, "image", []):  # so that no word changes it
            reading.attention.out.weight.zero_()
    return model


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("place", [0, 5, 15])
def test_a_model_made_to_look_at_one_token_shows_its_map_there(fusion, place):
    model = looking(built(fusion, fusion_layers=1).vlt)
    image = torch.zeros(2, 16, 32)
    image[1, place, 0] = 10.0
    model.backbone.grid = (2, 8)
    tokens = torch.tensor([[NAMES.cls, NAMES.mask, NAMES.sep]] * 2)
    one, other = of_texts(model, image, Reread(tokens, tokens == NAMES.mask, "seq2seq"))
    assert other.weights.shape == (2, 8) and other.weights[divmod(place, 8)] > 0.99 and other.mass > 0.99
    np.testing.assert_allclose(one.weights, 1 / 16, rtol=1e-5)
    assert one.mass == pytest.approx(1) if fusion == "cross" else one.mass < 1


@pytest.mark.parametrize(
    ("box", "shape", "grid", "cells"),
    [
        ((0, 0, 100, 100), (100, 200), (4, 4), {(1, 0): 1, (1, 1): 1, (2, 0): 1, (2, 1): 1}),
        ((0, 0, 50, 25), (100, 200), (4, 4), {(1, 0): 0.5}),
        ((0, 0, 100, 100), (200, 100), (2, 4), {(0, 1): 1, (0, 2): 1}),
        ((24, 24, 40, 40), (64, 64), (2, 2), {(0, 0): 1 / 16, (0, 1): 1 / 16, (1, 0): 1 / 16, (1, 1): 1 / 16}),
    ],
)
def test_a_box_covers_the_cells_that_it_lies_in_once_its_image_is_letterboxed(box, shape, grid, cells):
    expected = np.zeros(grid)
    for place, share in cells.items():
        expected[place] = share
    np.testing.assert_allclose(overlap(box, shape, 64, grid), expected)


@pytest.mark.parametrize("shape", [(300, 211), (97, 256), (128, 128)])
def test_a_box_lies_where_the_letterbox_puts_its_pixels(shape):
    pixels = np.zeros(shape, np.uint8)
    pixels[20:70, 30:95] = 255
    shown = letterbox(pixels, 64).reshape(8, 8, 8, 8).mean((1, 3)) / 255
    np.testing.assert_allclose(overlap((30, 20, 95, 70), shape, 64, (8, 8)), shown, atol=0.06)


def test_in_the_box_is_what_a_model_that_looks_at_the_finding_has_there():
    model = built(fusion_layers=1)
    looking(model.vlt)
    images = torch.zeros(3, 16, 32)
    images[[0, 1, 2], [3, 9, 9], 0] = 10.0
    boxes = torch.zeros(3, 16)
    boxes[[0, 1, 2], [3, 9, 4]] = torch.tensor([1.0, 0.25, 1.0])
    words = [attention.hidden(caption, model) for caption in ("A mass in the lobe.", "A mass.", "A left mass.")]
    found = attention.inside(model, words, images, boxes)
    assert found.shape == (3, 3, 1, 2)
    np.testing.assert_allclose(found[:, 0].mean((1, 2)), [1, 0.25, 0], atol=1e-3)
    assert np.isnan(found[:2, 1]).all() and np.isfinite(found[2, 1]).all() and np.isnan(found[:, 2]).all()


def test_hard_words_are_hidden_and_those_that_say_normal_are_not_asked():
    words = attention.hidden("No mass in the left lobe, normal.", built())
    texts = NAMES.encode("No mass in the left lobe, normal.", 24)
    strings = [
        NAMES.word_strings("No mass in the left lobe, normal.")[word] if word >= 0 else "" for word in texts.words
    ]
    hard = {string for string, number in zip(strings, words.ids, strict=True) if number == NAMES.mask}
    assert hard == {"no", "mass", "left", "normal"}
    asked_of = {string for string, kind in zip(strings, words.classes, strict=True) if kind}
    assert asked_of == {"mass", "left"}


def test_the_images_of_the_control_are_of_the_same_kind_and_of_other_cases():
    rows = [
        {"modality": "CT", "plane": "axial", "region": ("head", "chest")[number % 2], "case_id": number // 4}
        for number in range(16)
    ]
    drawn = attention.others(rows)
    assert drawn.shape == (16, 4) and (drawn >= 0).all()
    for number, others in enumerate(drawn.tolist()):
        assert len(set(others)) == 4 and all(one % 2 == number % 2 and one // 4 != number // 4 for one in others)
    assert (attention.others(rows[:4]) == -1).all()
