from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.serving import served
from tests.corpus_db.browsing import EVIL, hostile


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("browse")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RGC_DATA", str(folder))
        hostile(folder)
        with served("browse", folder) as address:
            yield address


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("home", "/"),
        ("tables", "/corpus"),
        ("version", "/corpus/rgc"),
        ("pairs", "/corpus/pair?status=dropped"),
        ("question", "/corpus/what-was-dropped-and-why"),
        ("pair", "/pair/medpix:clash"),
    ],
)
def test_each_page_opens_without_a_fault(site, open_page, shot, name, path) -> None:
    page = open_page(site + path)
    assert page.locator("h1").count() == 1
    shot(page, f"browse-{name}")


@pytest.mark.parametrize("path", ["/pair/medpix:evil", "/corpus/rgc", "/corpus/pair", "/corpus/rgc?_search=liver"])
def test_a_script_tag_in_a_caption_is_shown_and_does_not_run(site, open_page, shot, path) -> None:
    page = open_page(site + path)
    assert page.title() != "taken"
    assert page.get_by_text(EVIL[:40]).count() >= 1
    shot(page, f"browse-evil-{path.strip('/').partition('?')[0].replace('/', '-').replace(':', '-')}")


def test_a_word_leads_to_its_captions_and_on_to_a_pair(site, open_page) -> None:
    page = open_page(site)
    page.get_by_label("Captions that hold these words").fill("effus*")
    page.keyboard.press("Enter")
    page.wait_for_url("**/corpus/rgc?_search=effus*")
    page.locator("td.col-pair_id a").click()
    page.wait_for_url("**/pair/medpix:plain")
    assert page.get_by_role("heading", name="Caption, from raw to clean").is_visible()


def test_every_picture_of_a_page_is_there(site, open_page) -> None:
    for path in ("/corpus/rgc", "/corpus/pair", "/pair/medpix:clash"):
        page = open_page(site + path)
        for picture in page.locator("img").all():
            picture.scroll_into_view_if_needed()
            page.wait_for_function("one => one.complete && one.naturalWidth > 0", arg=picture.element_handle())


@pytest.mark.parametrize("path", ["/", "/pair/medpix:clash", "/corpus/rgc", "/corpus/pair", "/corpus"])
def test_a_phone_scrolls_no_page_sideways(site, open_page, path) -> None:
    page = open_page(site + path)
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_page_can_be_read_by_keyboard(site, open_page) -> None:
    page = open_page(f"{site}/pair/medpix:clash")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the link to the content
    assert page.url.endswith("#content")
