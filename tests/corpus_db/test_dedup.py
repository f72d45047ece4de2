import io
import random
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance

from corpus_db import dedup
from corpus_db.dedup import RADIUS, Match, candidates, clusters, compare, prepare, signature


def scan(seed=0, size=(320, 280), shift=0.0):
    """A grey image with structure at every scale; `shift` moves some of its parts, as the next slice would."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : size[1] * 1j, -1 : 1 : size[0] * 1j]
    cells = 60.0 * ((x / 0.9) ** 2 + (y / 0.8) ** 2 < 1)
    for number in range(40):
        cx, cy = rng.uniform(-0.7, 0.7, 2)
        wide, high = rng.uniform(0.03, 0.25, 2)
        cx += shift * (number % 3 == 0)
        cells += rng.uniform(-50, 70) * (((x - cx) / wide) ** 2 + ((y - cy) / high) ** 2 < 1)
    return Image.fromarray(np.clip(cells + rng.normal(0, 2, cells.shape), 0, 255).astype(np.uint8))


def jpeg(image, quality):
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return Image.open(out)


def annotated(image):
    copy = image.copy()
    ImageDraw.Draw(copy).line([(100, 100), (130, 120)], fill=255, width=4)
    return copy


CHANGES = {
    "re-encoded": lambda image: jpeg(image, 50),
    "halved": lambda image: image.resize((image.width // 2, image.height // 2)),
    "cropped": lambda image: image.crop((10, 8, image.width - 10, image.height - 8)),
    "cropped at a corner": lambda image: image.crop((9, 8, image.width, image.height)),
    "brightened": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    "re-windowed": lambda image: image.point([min(255, int(255 * (v / 220) ** 0.8)) for v in range(256)]),
    "annotated": annotated,
    "in colour": lambda image: jpeg(image.convert("RGB"), 90),
}


def met(one, other):
    return bool(list(candidates([signature(one).phash, signature(other).phash])))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("seed", range(3))
def test_a_changed_copy_meets_its_original_and_is_the_same(change, seed):
    image = scan(seed)
    copy = CHANGES[change](image)
    match = compare(prepare(image), prepare(copy))
    assert met(image, copy)
    assert match is not None and match.kind == "near" and 0 <= match.distance <= 0.012
    assert compare(prepare(copy), prepare(image)) is not None


@pytest.mark.parametrize("shift", [0.02, 0.03, 0.06])
def test_a_slice_beside_it_is_another_image_however_near_its_hash(shift):
    one, other = scan(1), scan(1, shift=shift)
    assert met(one, other)
    assert compare(prepare(one), prepare(other)) is None


def test_other_images_are_other_images():
    prepared = [prepare(scan(seed)) for seed in range(6)]
    assert not any(compare(one, other) for one, other in combinations(prepared, 2))


def test_the_same_pixels_in_other_clothes_have_one_hash_and_distance_zero():
    grey = scan(size=(64, 48))
    turned = grey.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise for viewing
    out = io.BytesIO()
    turned.save(out, "PNG", exif=exif)
    opaque = grey.convert("RGBA")
    palette = grey.convert("P")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16))
    same = [grey.convert("RGB"), opaque, palette, deep, grey.convert("LA"), Image.open(out)]
    for other in same:
        assert signature(other) == signature(grey)
        assert compare(prepare(grey), prepare(other)) == Match("pixels", 0.0)
    assert signature(grey.crop((0, 0, 63, 48))).pixel_sha256 != signature(grey).pixel_sha256


def test_the_same_bytes_in_another_shape_are_not_the_same_pixels():
    one, other = (signature(Image.new("L", size, 7)) for size in ((6, 2), (4, 3)))
    assert one.pixel_sha256 != other.pixel_sha256


def animation():
    out = io.BytesIO()
    frames = [scan(seed, (40, 40)) for seed in (1, 2)]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    image = Image.open(out)
    image.seek(1)
    return image


ODD = {
    "1x1": Image.new("L", (1, 1), 9),
    "1xN": Image.new("L", (1, 5000), 9),
    "Nx1": Image.effect_noise((5000, 1), 50),
    "bilevel": Image.new("1", (9, 9), 1),
    "CMYK": scan().convert("CMYK"),
    "YCbCr": scan().convert("RGB").convert("YCbCr"),
    "HSV": scan().convert("RGB").convert("HSV"),
    "LAB": Image.merge("LAB", [scan()] * 3),
    "La": scan().convert("LA").convert("La"),
    "RGBa": scan().convert("RGBA").convert("RGBa"),
    "PA": scan().convert("P").convert("PA"),
    "RGBX": scan().convert("RGBX"),
    "transparent": Image.new("RGBA", (20, 20), (200, 200, 200, 0)),
    "I;16": Image.fromarray(np.asarray(scan()).astype(np.uint16) * 200),
    "I;16B": Image.frombytes("I;16B", (32, 32), bytes(range(256)) * 8),
    "I": Image.fromarray(np.arange(-5000, 5000, dtype=np.int32).reshape(100, 100)),
    "F": Image.fromarray(np.array([[np.nan, np.inf], [-np.inf, 1e30]], np.float32)),
    "animated": animation(),
}


@pytest.mark.parametrize("name", ODD)
def test_any_loaded_image_has_a_signature_and_is_the_same_as_itself(name):
    image = ODD[name]
    found = signature(image)
    assert len(found.phash) == 112 and len(found.pixel_sha256) == 64
    assert compare(prepare(image), prepare(image.copy() if name != "animated" else animation())) == Match("pixels", 0.0)


def test_an_animation_is_its_first_frame():
    first = animation()
    first.seek(0)
    assert signature(animation()) == signature(first.convert("L"))


def test_what_is_transparent_is_black():
    assert signature(ODD["transparent"]).pixel_sha256 == signature(Image.new("L", (20, 20), 0)).pixel_sha256


def test_sixteen_bits_and_their_eight_bit_view_are_near():
    deep = ODD["I;16"]
    assert met(deep, scan())
    assert compare(prepare(deep), prepare(scan())) is not None


def test_blank_images_are_the_same_only_where_their_pixels_are():
    blank = [Image.new("L", (64 + step, 64), level) for step, level in ((0, 0), (0, 1), (0, 255), (1, 0))]
    dotted = Image.new("L", (64, 64))
    dotted.putpixel((3, 3), 255)
    blank.append(dotted)
    assert not list(candidates([signature(image).phash for image in blank]))
    assert not any(compare(prepare(one), prepare(other)) for one, other in combinations(blank, 2))
    assert compare(prepare(blank[0]), prepare(blank[0].convert("RGB"))) == Match("pixels", 0.0)


def test_the_image_handed_in_is_left_as_it_was():
    image = scan().convert("RGBA")
    before = image.mode, image.tobytes()
    signature(image)
    prepare(image)
    assert (image.mode, image.tobytes()) == before


def hashed(values):
    return ["".join(f"{value:016x}" for value in row) for row in values]


def plainly(values):
    def near(one, other):
        return any((one[0] ^ value).bit_count() <= RADIUS for value in other)

    return [
        (i, j)
        for i, j in combinations(range(len(values)), 2)
        if near(values[i], values[j]) or near(values[j], values[i])
    ]


BITS = st.integers(0, 2**64 - 1)


@settings(max_examples=25, deadline=None)
@given(BITS, st.lists(st.lists(st.sets(st.integers(0, 63), max_size=10), min_size=3, max_size=3), max_size=12))
def test_candidates_are_every_pair_within_the_radius(base, flips):
    values = [[base ^ sum(1 << bit for bit in bits) for bits in row] for row in flips]
    assert list(candidates(hashed(values))) == plainly(values)


@pytest.mark.parametrize("parts", range(3, 9))
def test_every_cut_of_the_bits_finds_the_same_pairs(parts, monkeypatch):
    rng = random.Random(parts)
    base = [rng.getrandbits(64) for _ in range(4)]
    values = [
        [rng.choice(base) ^ sum(1 << bit for bit in rng.sample(range(64), rng.randrange(7))) for _ in range(2)]
        for _ in range(60)
    ]
    monkeypatch.setattr(dedup, "_plan", lambda queries, entries: dedup._parts(parts))
    monkeypatch.setattr(dedup, "_BATCH", 7)
    assert list(candidates(hashed(values))) == plainly(values)


def test_no_hash_or_one_has_no_pair():
    assert list(candidates([])) == list(candidates(["0" * 112])) == []


def test_the_search_compares_far_fewer_than_all_pairs(monkeypatch):
    compared = []
    count_bits = np.bitwise_count

    def counting(differences):
        compared.append(len(differences))
        return count_bits(differences)

    monkeypatch.setattr(dedup.np, "bitwise_count", counting)
    rng = random.Random(1)
    hashes = hashed([[rng.getrandbits(64) for _ in range(7)] for _ in range(20_000)])
    assert list(candidates(hashes)) == []
    assert 0 < sum(compared) < 20_000 * 140_000 / 50


def test_clusters_are_named_by_their_smallest_member():
    assert clusters(7, [(5, 2), (2, 6), (3, 4)]) == [0, 1, 2, 3, 3, 2, 2]
    assert clusters(3, []) == [0, 1, 2]
    assert clusters(0, []) == []


def test_a_long_chain_is_one_cluster_and_no_deep_recursion():
    count = 100_000
    assert set(clusters(count, [(item + 1, item) for item in reversed(range(count - 1))])) == {0}


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20), st.randoms())
def test_clusters_do_not_depend_on_the_order_of_the_edges(edges, chance):
    shuffled = [(other, one) for one, other in edges]
    chance.shuffle(shuffled)
    assert clusters(10, edges) == clusters(10, shuffled)
