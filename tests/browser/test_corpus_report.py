from pathlib import Path

import pytest
from sqlalchemy import text

from corpus_db import db
from corpus_db.report.make import report
from tests.corpus_db.corpus import build
from tests.corpus_db.pictures import READERS, Pictures, fill_pictures

SCRIPT = "<script>window.ran = 1</script><img src=x onerror='window.ran = 1'>"
SPOILT = "<script>window.ran = 1</script>"  # what cleaning leaves of an escaped script
HEBREW = "בדיקת CT של החזה מראה גוש באונה העליונה"


@pytest.fixture
def filler(tmp_path: Path) -> Pictures:
    """A corpus with what strangers may send: scripts, long texts, another direction of writing."""
    filler = fill_pictures(db.create(tmp_path / "corpus.db"))
    escaped = SCRIPT.replace("&", "&amp;").replace("<", "&lt;")
    captions = {
        "51": f"Axial CT of the chest {SCRIPT} with a nodule.",
        "52": f"Axial CT of the chest {escaped} with a nodule and a long tail of words.",
        "53": HEBREW,
        "54": "unbroken" * 500 + " mass of the liver",
        "55": "Replace this - DESCRIPTION OF THE IMAGE OR FINDINGS.",
    }
    filler.case("case5", *(filler.pictured(key, caption) for key, caption in captions.items()), title=SCRIPT)
    for key in captions:
        filler.picture(key)
    with filler.engine.begin() as connection:
        connection.execute(text("UPDATE source SET licence = :it, citation = :it"), {"it": SCRIPT})
    build(filler.engine, READERS)
    return filler


@pytest.fixture
def written(filler: Pictures, tmp_path: Path) -> Path:
    report(filler.engine, tmp_path / "corpus.html")
    return tmp_path / "corpus.html"


def test_a_script_in_a_caption_is_read_and_not_run(open_page, written):
    page = open_page(written)
    assert SPOILT in page.inner_text("#content")
    assert page.evaluate("window.ran") is None
    assert page.locator("script").count() == 0


def test_every_picture_is_shown(open_page, written):
    page = open_page(written)
    assert page.locator("figure img").count() > 5
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")


def test_nothing_stands_out_of_a_phone(open_page, written):
    page = open_page(written)
    page.set_viewport_size({"width": 390, "height": 844})
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_menu_of_a_phone_is_whole_and_a_table_that_goes_on_has_a_shadow(open_page, written):
    page = open_page(written)
    page.set_viewport_size({"width": 390, "height": 844})
    for link in page.locator("nav a").all():
        box = link.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    shadows = page.evaluate("getComputedStyle(document.querySelector('.scroll')).backgroundAttachment")
    assert shadows == "local, local, scroll, scroll"


def test_a_keyboard_reaches_the_content_and_opens_what_is_folded(open_page, written):
    page = open_page(written)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    assert not page.evaluate("document.activeElement.parentElement.open")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.parentElement.open")


def test_every_entry_of_the_contents_leads_to_its_section(open_page, written):
    page = open_page(written)
    links = page.locator("nav a")
    assert links.count() == 9
    for link in links.all():
        link.click()
        section = link.get_attribute("href")
        assert section and page.locator(section).is_visible()
        top = page.evaluate("name => document.querySelector(name).getBoundingClientRect().top", section)
        assert top >= 30 or section == "#holes"  # not behind the contents, which stay at the top


def test_text_is_readable_in_the_light_and_in_the_dark(open_page, written, shot):
    page = open_page(written)
    shown = "getComputedStyle(document.body).backgroundColor"
    page.emulate_media(color_scheme="light")
    light = page.evaluate(shown)
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(shown) != light
    assert len(shot(page, "corpus-report", full=True)) == 3


def test_the_page_of_two_versions_opens(open_page, filler, tmp_path, shot):
    filler.said_anew("case2", filler.pictured("21", f"Coronal MR of the knee with a torn ligament {SCRIPT}."))
    build(filler.engine, READERS)
    report(filler.engine, tmp_path / "changes.html", "v1", "v2")
    page = open_page(tmp_path / "changes.html")
    assert page.locator("ins").first.inner_text() == "ligament"
    assert page.evaluate("window.ran") is None
    shot(page, "corpus-changes", full=True)
