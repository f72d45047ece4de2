import os
import re

import pytest
from jinja2 import Environment, UndefinedError

from corpus_db import page
from corpus_db.errors import UserError
from corpus_db.read import render_page
from tests.corpus_db.pages import Reader

CAPTION = "<script>alert('x')</script> \"quoted\" & <img src=http://example.org/a.png onerror=alert(1)>"
PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEAAAAALAAAAAABAAEAAAIBAAA="
WHOLE = """
{% extends "base.html" %}{% import "macros.html" as m %}
{% block title %}{{ text }}{% endblock %}
{% block content %}
{{ m.table(["a", text], [[text, 1234567], [none, none]], numeric=[1], caption=text) }}{{ m.table(["a"], []) }}
{{ m.bars([(text, 1200, 0.25), (none, 1, 1.0)]) }}{{ m.bars([]) }}
{{ m.figure(uri, text, text) }}{{ m.figure("", text) }}{{ m.numbers([(text, 1200, text), ("b", none, "")]) }}
{% endblock %}
"""


@pytest.fixture
def template(tmp_path, monkeypatch):
    """A function that renders a template of a package made for the test."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def rendered(source, **values):
        name = f"pages_of_test_{abs(hash(source))}"
        (tmp_path / name / "pages").mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "__init__.py").touch()
        (tmp_path / name / "pages" / "one.html").write_text(source)
        return render_page("one.html", name, **values)

    return rendered


def test_what_a_stranger_wrote_is_shown_and_not_run(template):
    found = Reader(template(WHOLE, text=CAPTION, uri=PIXEL))
    assert "script" not in found.tags
    assert found.text.count("<script>alert('x')</script>") >= 8
    assert found.tags.count("img") == 1
    assert not [name for _, name, _ in found.attributes if name.startswith("on")]


def test_a_page_asks_for_nothing_beyond_itself(template):
    text = template(WHOLE, text="a", uri=PIXEL)
    assert "default-src 'none'" in text
    assert not re.search(r"https?://|@import|url\(|<script|<iframe", text)
    assert {value[:5] for _, name, value in Reader(text).attributes if name in ("src", "srcset")} == {"data:"}
    links = [value for _, name, value in Reader(text).attributes if name == "href"]
    assert links and all(link.startswith(("#", "data:,")) for link in links)


def test_an_address_that_is_no_picture_of_the_page_is_left_out(template):
    for address in ("http://example.org/a.png", "javascript:alert(1)", "data:text/html,x"):
        assert address not in template(WHOLE, text="a", uri=address)


def test_a_keyboard_and_a_reader_of_screens_find_their_way(template):
    text = template(WHOLE, text="a", uri=PIXEL)
    found = Reader(text)
    assert ("a", "href", "#content") in found.attributes and ("main", "id", "content") in found.attributes
    assert ("html", "lang", "en") in found.attributes
    assert ":focus-visible" in text and "prefers-color-scheme: dark" in text and "width=device-width" in text
    assert [value for tag, name, value in found.attributes if (tag, name) == ("img", "alt")] == ["a"]
    assert ("span", "role", "img") in found.attributes and "image not here" in found.text


def test_numbers_are_grouped_and_nothing_is_a_dash(template):
    text = Reader(template(WHOLE, text="a", uri=PIXEL)).text
    assert "1,234,567" in text and "1,200" in text and "\u2013" in text
    assert "25.0%" in text and "not labelled" in text and "None." in text


def test_a_value_that_a_template_lacks_is_an_error(template):
    with pytest.raises(UndefinedError):
        template("{{ nowhere }}")


def test_what_would_break_a_page_becomes_visible(template):
    text = template("{{ text }}", text="a\x00b\udc80c\u202ed\ne\u200df \u05d0\u05d1\u05d2")
    assert text == "a\\u0000b\\udc80c\\u202ed\ne\u200df \u05d0\u05d1\u05d2"
    text.encode("utf-8")


def test_escaping_is_on_whatever_the_template(monkeypatch, template):
    made = []
    monkeypatch.setattr("jinja2.Environment", lambda **options: made.append(options) or Environment(**options))
    template("a")
    assert [options["autoescape"] for options in made] == [True]


def test_a_page_is_written_whole_over_an_older_one(tmp_path):
    target = tmp_path / "a.html"
    target.write_text("older")
    assert page.write(target, "é") == 2
    assert target.read_text(encoding="utf-8") == "é" and os.listdir(tmp_path) == ["a.html"]


def test_a_page_that_cannot_be_written_leaves_the_older_one(tmp_path, monkeypatch):
    target = tmp_path / "a.html"
    target.write_text("older")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"a\.html: cannot write it \(No space left on device\)"):
        page.write(target, "newer")
    assert target.read_text() == "older" and os.listdir(tmp_path) == ["a.html"]


@pytest.mark.parametrize("place", [".", "..", "nowhere/a.html", "file/a.html"])
def test_a_place_that_takes_no_file_is_told_in_a_line(tmp_path, place):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=re.escape(str(tmp_path / place))):
        page.write(tmp_path / place, "a")


def test_a_device_is_no_place_for_a_page():
    with pytest.raises(UserError, match="/dev/null: no file"):
        page.write("/dev/null", "a")


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path):
    (tmp_path / "link.html").symlink_to(tmp_path / "a.html")
    page.write(tmp_path / "link.html", "a")
    assert (tmp_path / "link.html").is_symlink() and (tmp_path / "a.html").read_text() == "a"


def test_a_place_where_no_page_can_be_written_is_told_before_the_page_is_made(tmp_path, monkeypatch):
    page.check_target(tmp_path / "new.html")
    with pytest.raises(UserError, match="a folder; give the page a file name"):
        page.check_target(tmp_path)
    with pytest.raises(UserError, match=r"there is no folder .*nowhere; make it"):
        page.check_target(tmp_path / "nowhere" / "x.html")
    monkeypatch.setattr(page.os, "access", lambda place, mode: False)
    with pytest.raises(UserError, match="cannot be written; give another place with -o"):
        page.check_target(tmp_path / "new.html")
