import math

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from vlt import augment as augmenting
from vlt.augment import DRAWS, augment

STILL = torch.full((1, DRAWS), 0.5)
STILL[:, 1] = 0.0  # the whole side


def images(count=4, channels=1, size=32):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, channels, size, size), generator=generator, dtype=torch.uint8)


def draws(count=4, seed=0):
    return torch.rand(count, DRAWS, generator=torch.Generator().manual_seed(seed))


def changed(**values):
    """Middle draws, with some replaced."""
    names = ("angle", "scale", "across", "down", "gamma", "gain", "offset")
    found = STILL.clone()
    for name, value in values.items():
        found[0, names.index(name)] = value
    return found


def test_the_middle_draws_change_nothing():
    given = images(1)
    assert (augment(given, STILL) - given / 255).abs().max() < 1e-3


@pytest.mark.parametrize("channels", [1, 3])
def test_results_are_floats_in_0_to_1_of_the_same_shape(channels):
    found = augment(images(64, channels), draws(64))
    assert found.shape == (64, channels, 32, 32) and found.dtype == torch.float32
    assert found.min() >= 0 and found.max() <= 1 and torch.isfinite(found).all()


def test_each_image_depends_on_its_own_draws_alone():
    given, chance = images(), draws()
    alone = torch.cat([augment(given[row : row + 1], chance[row : row + 1]) for row in range(4)])
    assert torch.equal(augment(given, chance), alone)
    other = chance.clone()
    other[2] = draws(1, seed=1)
    same = (augment(given, other) == alone).flatten(1).all(1)
    assert same.tolist() == [True, True, False, True]


def test_channels_move_together():
    grey = images().expand(-1, 3, -1, -1)
    found = augment(grey, draws())
    assert torch.equal(found[:, 0], found[:, 1]) and torch.equal(found[:, 0], found[:, 2])


def test_left_stays_left_and_up_stays_up_whatever_is_drawn():
    square = torch.zeros(500, 1, 32, 32, dtype=torch.uint8)
    square[:, :, 7:13, 6:12] = 250  # above on the left
    found = augment(square, torch.cat([draws(498), torch.zeros(1, DRAWS), torch.ones(1, DRAWS)]))
    lit = found - found.amin((2, 3), keepdim=True)
    weight = lit.sum((1, 2, 3))
    across = (lit * torch.arange(32.0)).sum((1, 2, 3)) / weight
    down = (lit * torch.arange(32.0)[:, None]).sum((1, 2, 3)) / weight
    assert (weight > 0).all() and across.max() < 16 and down.max() < 16


@pytest.mark.parametrize("size", [7, 32])
def test_the_grid_is_that_of_affine_grid(size):
    angle, across, down = draws(3)[:3, :3].unbind(1)
    cosine, sine = 0.9 * angle.cos(), 0.9 * angle.sin()
    rows = torch.stack([cosine, -sine, across, sine, cosine, down], 1).view(-1, 2, 3)  # B, 2, 3
    expected = F.affine_grid(rows, [3, 1, size, size], align_corners=False)
    assert torch.allclose(augmenting._grid(cosine, sine, across, down, size), expected, atol=1e-6)


def test_a_crop_magnifies_and_a_turn_turns():
    ring = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    ring[:, :, 24:40, 24:40] = 200
    grown = (augment(ring, changed(scale=1.0)) > 0.4).sum().item()
    assert grown == pytest.approx(16**2 / augmenting.SMALLEST**2, rel=0.1)
    dot = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    dot[:, :, 30:34, 54:58] = 200
    turned = augment(dot, changed(angle=1.0))[0, 0]
    down = (turned.sum(1) * torch.arange(64.0)).sum() / turned.sum()
    assert abs(down - 31.5).item() == pytest.approx(24 * math.sin(math.radians(augmenting.DEGREES)), rel=0.1)


@pytest.mark.parametrize("name,axis", [("across", 0), ("down", 1)])
def test_an_image_is_shifted_by_a_little(name, axis):
    dot = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    dot[:, :, 28:36, 28:36] = 200
    found = augment(dot, changed(**{name: 1.0}))[0, 0]
    place = (found.sum(axis) * torch.arange(64.0)).sum() / found.sum()
    assert (31.5 - place).item() == pytest.approx(augmenting.SHIFT * 32, rel=0.05)


@pytest.mark.parametrize(
    "values,expected",
    [({"gain": 1.0}, 0.6), ({"gain": 0.0}, 0.4), ({"offset": 1.0}, 0.6), ({"gamma": 1.0}, 0.5**1.3)],
)
def test_intensity_changes_by_gain_offset_and_gamma(values, expected):
    grey = torch.full((1, 1, 16, 16), 127.5)
    assert augment(grey, changed(**values))[0, 0, 8, 8].item() == pytest.approx(expected, abs=1e-3)


def test_given_images_stay_as_they_are():
    for given in (images(), images().float()):
        before = given.clone()
        augment(given, draws())
        assert torch.equal(given, before)


def test_all_of_it_stays_on_the_device():
    given, chance = images(), draws()
    with FakeTensorMode(allow_non_fake_inputs=False) as mode:
        found = augment(mode.from_tensor(given).to("cuda"), mode.from_tensor(chance).to("cuda"))
        assert found.device.type == "cuda" and found.shape == (4, 1, 32, 32)
