import pytest

from tests.vlt import kept
from vlt import report
from vlt.metrics import meteor


@pytest.fixture
def pages(tmp_path, monkeypatch):
    """The pages about a pre-trained run, a fine-tuned one and a study."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RGC_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(meteor, "absent", lambda: "not asked for")
    base = kept.base(tmp_path)
    kept.found(base)
    kept.written(base)
    kept.tuned(tmp_path, base)
    kept.study(tmp_path)
    for run, study in (("base", None), ("rad", None), (None, "tiny-vqa-rad")):
        report.write(tmp_path / f"{run or study}.html", run, study)
    return tmp_path


@pytest.mark.parametrize("name", ["base", "rad", "tiny-vqa-rad"])
def test_a_page_fits_a_phone_and_the_keyboard_reaches_what_is_folded(pages, name, open_page, shot):
    page = open_page(pages / f"{name}.html")
    shot(page, f"run-report-{name}", full=True)
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for folded in page.locator("details:not([open]) > summary").element_handles():
        folded.focus()
        page.keyboard.press("Enter")
        assert folded.evaluate("(summary) => summary.parentElement.open")


def test_a_script_that_a_model_said_is_shown_and_does_not_run(pages, open_page):
    page = open_page(pages / "rad.html")
    assert page.title() == "Run rad"
    assert page.get_by_text(kept.HOSTILE).first.is_visible()
    assert page.locator("script").count() == 0


def test_pictures_and_curves_are_drawn(pages, open_page):
    page = open_page(pages / "rad.html")
    drawn = "(images) => images.every((image) => image.complete && image.naturalWidth > 0)"
    images = page.locator("img")
    assert images.count() == 13 and images.evaluate_all(drawn)
    boxes = page.locator("svg.plot").evaluate_all("(plots) => plots.map((plot) => plot.getBoundingClientRect().height)")
    assert len(boxes) == 4 and min(boxes) > 60
