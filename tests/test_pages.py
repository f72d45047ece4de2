"""What a reader of the pages relies on: links that lead to a heading, pages that are linked to, numbers as printed."""

import re
from pathlib import Path

import pytest

from rgc.crawl import LIVE_LIMIT, estimate

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def links(page):
    """(file, anchor) of each link to a file of the project; the anchor is None where there is none."""
    for file, anchor in re.findall(r"\]\(([^)#:]*)(#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if file or anchor:
            yield (page.parent / file).resolve() if file else page, anchor[1:] or None


def anchors(page):
    """The addresses of a page's headings, as GitHub makes them of their words."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_to_a_heading_of_it(page):
    for file, anchor in links(page):
        assert file.exists(), f"{page.name}: {file}"
        assert anchor is None or anchor in anchors(file), f"{page.name}: no heading #{anchor} in {file.name}"


def test_the_readme_leads_to_every_page():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in reached and page.suffix == ".md":
            reached.add(page)
            waiting += [file for file, _ in links(page)]
    assert set(PAGES) - reached == set()


def test_the_readme_lists_each_page_of_the_docs():
    listed = {file for file, _ in links(ROOT / "README.md")}
    assert [page.name for page in (ROOT / "docs").glob("*.md") if page not in listed] == []


def test_the_page_on_scaling_prints_what_a_full_crawl_is_estimated_at():
    assert estimate(12_000, LIVE_LIMIT) in (ROOT / "docs/scale.md").read_text(encoding="utf-8")


def test_every_picture_of_the_docs_is_shown_on_a_page():
    shown = {file for page in PAGES for file, _ in links(page)}
    assert [picture.name for picture in (ROOT / "docs/img").iterdir() if picture not in shown] == []
