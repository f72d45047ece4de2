import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import cli
from corpus_db import db
from corpus_db.report.ask import NONE, brief, cut, heat
from corpus_db.report.thumbs import SIDE, thumbnails
from corpus_db.report.words import changes
from tests.corpus_db.corpus import build, fill
from tests.corpus_db.pictures import READERS


def opened(uri: str) -> Image.Image:
    assert uri.startswith("data:image/jpeg;base64,")
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def texts(parts: list[tuple[str, str]], *kinds: str) -> str:
    return "".join(text for kind, text in parts if kind in kinds)


@given(st.text(max_size=60), st.text(max_size=60))
def test_both_texts_can_be_read_from_their_parts_but_for_white_space(before, after):
    def letters(text):
        return "".join(each for each in text if not each.isspace() and each not in "␣⇥⏎")

    parts = changes(before, after)
    assert letters(texts(parts, "same", "gone")) == letters(before)
    assert letters(texts(parts, "same", "new")) == letters(after)


def test_white_space_that_went_is_visible():
    assert changes("CT  of\nit", "CT of it") == [
        *(("same", "CT"), ("gone", "␣␣"), ("new", "␣"), ("same", "of")),
        *(("gone", "⏎"), ("new", "␣"), ("same", "it")),
    ]


def test_of_a_long_text_only_what_surrounds_a_change_is_shown():
    parts = changes("word " * 300 + "left" + " more" * 300, "word " * 300 + "right" + " more" * 300)
    assert [kind for kind, _ in parts] == ["same", "gone", "new", "same"]
    assert sum(len(text) for _, text in parts) < 200
    unbroken = changes("w" * 9000, "w" * 9000 + ".")
    assert sum(len(text) for _, text in unbroken) < 3000
    very_long = changes("a " * 50_000, "b " * 50_000)
    assert sum(len(text) for _, text in very_long) < 100_000
    assert "only its beginning" in very_long[-1][1]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, ""),
        ("", ""),
        ("\n" * 300, ""),
        ("a  b", "a b"),
        ("ab " * 3, "ab ab ab"),
        ("abcdefghijklm", "abcdefghij …"),
    ],
)
def test_a_caption_below_a_picture_is_brief(text, told):
    assert brief(text, 10) == told


def test_a_cut_text_tells_how_much_is_left_out():
    assert cut("abcdef", 4) == "abcd… (2 more characters)" and cut("abcd", 4) == "abcd" and cut(None) == ""


def test_a_table_of_counts_has_most_first_and_unlabelled_last():
    table = heat("modality", [("CT", "chest", 5), ("CT", None, 9), (None, "chest", 30), ("MR", "brain", 8)])
    assert table.heads == ["chest", "brain", NONE]
    assert table.rows == [("CT", [5, 0, 9], 14), ("MR", [0, 8, 0], 8), (NONE, [30, 0, 0], 30)]
    assert table.most == 30


def test_small_pictures_keep_shape_and_depth(tmp_path: Path):
    ramp = np.linspace(0, 1, 800 * 400).reshape(400, 800)
    Image.fromarray((ramp * 4000 + 1000).astype(np.uint16)).save(tmp_path / "deep.png")
    Image.new("RGB", (300, 600), (200, 30, 40)).save(tmp_path / "colour.jpg")
    Image.new("L", (20, 10), 90).save(tmp_path / "tiny.png")
    found = thumbnails(tmp_path, ["deep.png", "colour.jpg", "tiny.png"])
    deep, colour, tiny = (opened(found[name]) for name in ("deep.png", "colour.jpg", "tiny.png"))
    assert (deep.size, colour.size, tiny.size) == ((SIDE, SIDE // 2), (SIDE // 2, SIDE), (20, 10))
    assert (deep.mode, colour.mode) == ("L", "RGB")
    assert np.asarray(deep).min() < 10 and np.asarray(deep).max() > 245
    assert np.abs(np.asarray(colour).mean((0, 1)) - (200, 30, 40)).max() < 6


def test_what_is_no_picture_or_leads_out_is_empty(tmp_path: Path):
    (tmp_path / "images").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "secret.png")
    (tmp_path / "images" / "text.jpg").write_text("no picture")
    paths = ["../secret.png", str(tmp_path / "secret.png"), "images/text.jpg", "images", "nowhere.jpg"]
    assert thumbnails(tmp_path / "images", paths) == dict.fromkeys(paths, "")
    assert thumbnails(tmp_path, []) == {}


@pytest.fixture
def corpus(tmp_path: Path) -> str:
    address = str(tmp_path / "data" / "corpus.db")
    engine = db.create(address)
    fill(engine, cases=3)
    build(engine, READERS)
    engine.dispose()
    return address


def run(*words: str):
    return CliRunner().invoke(cli.main, ["report", *words])


def test_the_command_names_the_page_its_size_and_its_time(corpus, tmp_path):
    done = run("-o", str(tmp_path / "a.html"), "--db", corpus)
    assert done.exit_code == 0, done.output
    assert re.search(r"report of v1: 7 pairs, \d+ pictures.*; \d+\.\d MB in \d+\.\d s: ", done.stdout)
    assert done.stdout.strip().endswith(str(tmp_path / "a.html"))
    assert run("v1", "v1", "-o", str(tmp_path / "b.html"), "--db", corpus).exit_code == 0


def test_the_command_prints_json_for_scripts(corpus, tmp_path):
    done = run("-o", str(tmp_path / "a.html"), "--json", "--db", corpus)
    told = json.loads(done.stdout)
    assert (told["path"], told["bytes"]) == (str(tmp_path / "a.html"), (tmp_path / "a.html").stat().st_size)
    assert (told["version"], told["other"], told["pairs"]) == ("v1", None, 7)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("nope", "-o", "a.html"), "nope: no such version"),
        (("v1", "nope", "-o", "a.html"), "nope: no such version"),
        (("-o", "nowhere/a.html"), "nowhere/a.html: there is no folder"),
        (("-o", "."), ".: a folder"),
    ],
)
def test_the_command_tells_in_a_line_what_is_wrong(corpus, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    done = run(*words, "--db", corpus)
    assert done.exit_code == 1
    assert done.stderr.strip().splitlines()[-1].startswith(f"Error: {says}")
    assert not list(tmp_path.glob("*.html"))
