import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from corpus_db import store
from corpus_db.store import BadImage, ImageStore, examine


def encoded(form="PNG", size=(8, 6), mode="L"):
    out = io.BytesIO()
    Image.effect_noise(size, 50).convert(mode).save(out, form)
    return out.getvalue()


def test_bytes_are_kept_as_they_came_under_their_hash(tmp_path):
    body = encoded("JPEG", (64, 48))
    image = ImageStore(tmp_path).put(body)
    assert (tmp_path / image.path).read_bytes() == body
    assert image.path == f"images/{image.sha256[:2]}/{image.sha256[2:4]}/{image.sha256}.jpg"
    assert (image.width, image.height, image.mode, image.bytes) == (64, 48, "L", len(body))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "empty_body"),
        (b"<html><h1>Image not found</h1></html>", "not_an_image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not_an_image"),
        (encoded("JPEG", (64, 64))[:-400], "truncated_image"),
        (encoded("PNG", (64, 64))[:-100], "truncated_image"),
    ],
)
def test_bytes_that_do_not_decode_are_refused_with_a_reason(tmp_path, body, reason):
    with pytest.raises(BadImage) as bad:
        ImageStore(tmp_path).put(body)
    assert bad.value.reason == reason
    assert not list(tmp_path.rglob("*.*"))


def test_a_decompression_bomb_is_refused_before_it_is_decoded(monkeypatch):
    body = encoded(size=(40, 40))
    monkeypatch.setattr(store, "MAX_PIXELS", 1000)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(BadImage) as bad:
        examine(body)
    assert bad.value.reason == "too_many_pixels"


def test_a_leftover_of_zero_bytes_does_not_count_as_the_image(tmp_path):
    body, keeper = encoded(), ImageStore(tmp_path)
    path = tmp_path / keeper.put(body).path
    path.write_bytes(b"")
    keeper.put(body)
    assert path.read_bytes() == body


def test_a_kill_between_writing_and_naming_leaves_no_image_and_is_swept(tmp_path, monkeypatch):
    keeper = ImageStore(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(SystemExit))
        patch.setattr(os, "unlink", lambda *_: None)  # a killed process cleans nothing up
        with pytest.raises(SystemExit):
            keeper.put(encoded())
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [store.TEMPORARY]
    assert keeper.sweep() == 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\0", b"BM"])
)
def test_any_bytes_are_an_image_or_refused(tail, magic):
    try:
        examine(magic + tail)
    except BadImage as bad:
        assert bad.reason
