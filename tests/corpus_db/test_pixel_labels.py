import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from corpus_db.pixel_labels import VERSION, pixel_facts, pixel_votes

MODES = (
    "1",
    "L",
    "P",
    "RGB",
    "RGBA",
    "CMYK",
    "YCbCr",
    "LAB",
    "HSV",
    "I",
    "F",
    "LA",
    "PA",
    "La",
    "RGBa",
    "RGBX",
    "I;16",
)


def said(image: Image.Image) -> set[tuple[str, str]]:
    return {(vote.field, vote.value) for vote in pixel_votes(pixel_facts(image))}


def noise(rows: int, columns: int, seed: int = 1, low: int = 40, high: int = 200) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, (rows, columns)).astype(np.uint8)


def fan(half: float = 35.0, near: float = 60.0, far: float = 330.0, turned: float = 0, bulge: float = 0) -> Image.Image:
    """A sector of speckle, `half` degrees to each side, from a curved probe at the top of 400 x 480 px.

    It may be turned, and its sides may bulge, both by degrees.
    """
    rows, columns = np.indices((400, 480))
    across, down = columns - 240, rows + 30
    radius, angle = np.hypot(across, down), np.degrees(np.arctan2(across, down))
    side = half + bulge * np.sin(np.pi * (radius - near) / (far - near))
    inside = (radius >= near) & (radius <= far) & (np.abs(angle - turned) <= side)
    return Image.fromarray(np.where(inside, noise(400, 480), 2).astype(np.uint8))


def head() -> Image.Image:
    image = Image.new("L", (400, 480))
    draw = ImageDraw.Draw(image)
    draw.ellipse((60, 40, 340, 440), fill=220)
    draw.ellipse((75, 55, 325, 425), fill=110)
    return image


def panels(level: int, wide: int) -> Image.Image:
    sheet = np.full((300, 400 + wide), level, np.uint8)
    sheet[:, :200], sheet[:, 200 + wide :] = noise(300, 200, 1), noise(300, 200, 2)
    return Image.fromarray(sheet)


@pytest.mark.parametrize("half", [20, 35, 50])
def test_a_sector_of_echoes_on_black_is_ultrasound_and_its_angle_is_told(half: int) -> None:
    facts = pixel_facts(fan(half))
    assert facts["fan"] == pytest.approx(2 * half, abs=4)
    assert ("modality", "US") in said(fan(half))


def test_text_beside_a_sector_does_not_hide_it() -> None:
    image = fan()
    ImageDraw.Draw(image).text((5, 5), "RT KIDNEY\nMI 1.1", fill=255, font_size=16)
    assert ("modality", "US") in said(image)


@pytest.mark.parametrize("make", [head, lambda: Image.fromarray(noise(400, 480)), lambda: Image.new("L", (480, 400))])
def test_a_head_a_full_frame_and_black_are_no_sector(make) -> None:
    assert pixel_facts(make())["fan"] is None


def test_a_sector_that_is_turned_bulges_or_is_hollow_is_none() -> None:
    assert pixel_facts(fan(turned=8))["fan"] is None
    assert pixel_facts(fan(half=25, bulge=12))["fan"] is None
    hollow = np.where(np.asarray(fan(half=25, near=90, far=300)) > 2, 2, np.asarray(fan())).astype(np.uint8)
    assert pixel_facts(Image.fromarray(hollow))["fan"] is None


def test_a_triangle_with_a_flat_foot_is_no_sector() -> None:
    image = Image.new("L", (480, 400))
    ImageDraw.Draw(image).polygon([(240, 10), (20, 300), (460, 300)], fill=150)
    assert pixel_facts(image)["fan"] is None


def test_red_and_blue_in_a_sector_are_doppler_and_red_alone_is_not() -> None:
    image = fan().convert("RGB")
    draw = ImageDraw.Draw(image)
    draw.ellipse((200, 120, 240, 170), fill=(220, 30, 20))
    assert ("technique", "doppler") not in said(image)
    draw.ellipse((250, 120, 290, 170), fill=(20, 40, 230))
    assert ("technique", "doppler") in said(image)


def test_a_picture_in_warm_colours_is_no_radiology_and_a_blue_film_is_not_judged() -> None:
    grey = noise(200, 200, low=90)
    warm = Image.fromarray(np.dstack([grey, grey // 2, grey // 3]))
    film = Image.fromarray(np.dstack([grey // 3, grey // 2, grey]))
    assert said(warm) == {("modality", "not_radiology")}
    assert said(film) == set()


@pytest.mark.parametrize("wide", [4, 10])
def test_a_white_band_between_two_pictures_makes_a_montage(wide: int) -> None:
    image = panels(255, wide)
    assert len(pixel_facts(image)["panels"]) == 2
    assert said(image) == {("montage", "yes")}
    assert said(image.transpose(Image.Transpose.ROTATE_90)) == {("montage", "yes")}


def test_panels_of_a_grid_are_told_one_by_one_in_thousandths() -> None:
    sheet = np.full((410, 410), 255, np.uint8)
    for n, (top, left) in enumerate(((0, 0), (0, 210), (210, 0), (210, 210))):
        sheet[top : top + 200, left : left + 200] = noise(200, 200, n)
    found = sorted(map(tuple, pixel_facts(Image.fromarray(sheet))["panels"]))
    assert found == [(0, 0, 488, 488), (0, 512, 488, 1000), (512, 0, 1000, 488), (512, 512, 1000, 1000)]


def test_the_dark_between_two_legs_is_no_band() -> None:
    assert said(panels(0, 10)) == set()


def test_a_white_line_across_one_picture_is_no_band() -> None:
    column = 60 + 60 * np.sin(np.arange(300) / 15)
    picture = np.repeat(column[:, None], 400, axis=1) + noise(300, 400, 3, 0, 20)
    picture[:, 190:193] = 255
    assert said(Image.fromarray(picture.astype(np.uint8))) == set()


def test_a_white_margin_is_no_band_and_neither_is_one_within_a_narrow_frame() -> None:
    image = np.full((300, 420), 255, np.uint8)
    image[:, 20:400] = noise(300, 380)
    assert said(Image.fromarray(image)) == set()
    image[:, :12] = image[:, 412:] = 0
    assert said(Image.fromarray(image)) == set()


def test_a_wide_white_strip_and_one_with_ragged_sides_are_no_bands() -> None:
    assert said(panels(255, 60)) == set()
    image = np.asarray(panels(255, 6)).copy()
    image[::2, 190:216] = 255  # as fat is, of which only the middle is white from top to bottom
    assert said(Image.fromarray(image)) == set()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(1, 1), (1, 700), (700, 1), (90, 130)])
def test_any_mode_and_size_gives_facts_that_json_holds(mode: str, size: tuple[int, int]) -> None:
    facts = pixel_facts(Image.new(mode, size))
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert len(json.dumps(facts)) < 500


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 140), st.integers(1, 140), st.integers(0, 2**32 - 1), st.sampled_from(("L", "RGB")))
def test_no_pixels_make_it_raise(width: int, height: int, seed: int, mode: str) -> None:
    chance = np.random.default_rng(seed)
    values = chance.integers(0, 256, (max(1, height // 9), max(1, width // 9), 3)).astype(np.uint8)
    image = Image.fromarray(values).convert(mode).resize((width, height), Image.Resampling.NEAREST)
    pixel_votes(pixel_facts(image))


def test_values_that_are_no_number_do_not_make_it_raise() -> None:
    values = np.array([[np.nan, np.inf], [-np.inf, 1e30]], np.float32)
    pixel_votes(pixel_facts(Image.fromarray(np.tile(values, (64, 64)))))


def test_facts_of_another_version_and_none_cast_no_vote() -> None:
    assert pixel_votes({}) == []
    assert pixel_votes({**pixel_facts(fan()), "v": VERSION + 1}) == []


def test_votes_are_the_weakest_and_name_what_was_seen() -> None:
    votes = pixel_votes(pixel_facts(fan()))
    assert votes
    assert all(vote.voter == "pixels" and vote.evidence and 0 < vote.confidence < 0.9 for vote in votes)


@pytest.mark.skipif("RGC_REAL_DATA" not in os.environ, reason="RGC_REAL_DATA names no folder of real images")
def test_of_real_ct_and_mr_images_none_is_called_ultrasound_or_a_montage() -> None:
    paths = sorted(Path(os.environ["RGC_REAL_DATA"], "medpix2", "images").iterdir())[::10]
    assert len(paths) > 100
    assert {path.name: found for path in paths if (found := said(Image.open(path)))} == {}
