import sqlite3
from pathlib import Path

import pytest

from tests.browser.serving import served
from tests.corpus_db.browsing import DATABASE, hostile


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RGC_DATA", str(tmp_path))
    hostile(tmp_path)
    return tmp_path


def verdicts_of(folder: Path) -> list[tuple[str | None, ...]]:
    with sqlite3.connect(folder / DATABASE) as connection:
        return connection.execute('SELECT pair_id, decision, field, value, "by" FROM verdict ORDER BY id').fetchall()


def test_a_person_goes_through_the_queue_by_keyboard(folder, open_page, shot) -> None:
    with served("review", folder) as site:
        page = open_page(f"{site}/-/review")
        shot(page, "review-first", full=True)
        assert page.evaluate("document.activeElement.name") == "by"  # who decides is asked first
        page.keyboard.type("A. Reader")
        page.keyboard.press("Escape")
        page.keyboard.press("r")  # to the label in doubt
        assert page.evaluate("document.activeElement.name") == "modality"
        page.keyboard.press("M")
        page.keyboard.press("M")  # MG, MR
        page.keyboard.press("Escape")
        page.keyboard.press("r")
        page.wait_for_url("**pair=medpix%3Astrange%231")
        assert page.get_by_role("status").inner_text().startswith("Recorded: medpix:clash: relabel modality = MR")
        shot(page, "review-next", full=True)
        page.keyboard.press("s")
        page.wait_for_url("**pair=medpix%3Ashort")
        page.keyboard.press("e")
        page.keyboard.press("Control+a")
        page.keyboard.type("A mass of the liver on CT.")
        page.keyboard.press("Control+Enter")
        page.wait_for_url("**pair=medpix%3Astrange%231")
        page.keyboard.press("d")
        page.wait_for_url("**/-/review")
        assert page.get_by_role("heading", name="Nothing waits").is_visible()
    assert verdicts_of(folder) == [
        ("medpix:clash", "relabel", "modality", "MR", "A. Reader"),
        ("medpix:short", "edit", None, "A mass of the liver on CT.", "A. Reader"),
        ("medpix:strange#1", "drop", None, None, "A. Reader"),
    ]


def test_keys_typed_into_a_field_decide_nothing(folder, open_page) -> None:
    with served("review", folder) as site:
        page = open_page(f"{site}/-/review")
        page.keyboard.type("dkdks")
        assert page.get_by_label("Who decides?").input_value() == "dkdks"
    assert verdicts_of(folder) == []


def test_a_button_asks_who_decides(folder, open_page) -> None:
    with served("review", folder) as site:
        page = open_page(f"{site}/-/review")
        page.get_by_role("button", name="Drop").click()
        assert page.evaluate("document.activeElement.name") == "by"
        page.get_by_label("Who decides?").fill("A. Reader")
        page.get_by_role("button", name="Drop").click()
        page.wait_for_url("**pair=medpix%3Astrange%231")
    assert verdicts_of(folder) == [("medpix:clash", "drop", None, None, "A. Reader")]


def test_the_review_of_a_hostile_caption_runs_nothing(folder, open_page, shot) -> None:
    with served("review", folder) as site:
        page = open_page(f"{site}/-/review?pair=medpix:evil")
        assert page.title() == "Review: medpix:evil"
        assert "<script>" in page.locator("#caption").input_value()
        shot(page, "review-evil", full=True)
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
