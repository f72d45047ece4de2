"""Photograph a report's page, or a section of it, for docs/img.

    python tools/picture.py PAGE.html OUT.png [--at SECTION] [--size 1200x760]

Needs the extra `dev` (Playwright) and Chromium from the system's packages.
"""

import argparse
import shutil
import sys
from pathlib import Path

SCROLL = "id => { const at = document.getElementById(id); at?.scrollIntoView(); return at !== null; }"
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--at", metavar="SECTION", help="the id of the heading to begin with")
    parser.add_argument("--size", type=sides, default="1200x760", metavar="WIDTHxHEIGHT", help="in pixels")
    asked = parser.parse_args()
    photograph(asked.page, asked.out, asked.at, *asked.size)


def sides(told: str) -> tuple[int, int]:
    """1200x760 as numbers; raises ValueError."""
    width, height = map(int, told.split("x"))
    return width, height


def photograph(page: Path, out: Path, section: str | None, width: int, height: int) -> None:
    """Write a PNG of what a window of that size shows of the page, from `section` on."""
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        sys.exit("no Chromium here; on Debian: apt-get install chromium")
    if not page.is_file():
        sys.exit(f"{page}: no such page; make it with: python cli.py demo, or report -o {page}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        shown = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
        shown.goto(page.resolve().as_uri())
        if section and not shown.evaluate(SCROLL, section):
            sys.exit(f"{page}: nothing in it has the id {section}")
        shown.screenshot(path=out)
        browser.close()


if __name__ == "__main__":
    main()
