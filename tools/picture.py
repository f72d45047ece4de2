"""Photograph a report's page, or a section of it, for docs/img.

    python tools/picture.py PAGE.html OUT.png [--at SECTION] [--size 1200x760]

Needs the extra `dev` (Playwright) and Chromium from the system's packages.
"""

import argparse
import shutil
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--at", metavar="SECTION", help="the id of the heading to begin with")
    parser.add_argument("--size", default="1200x760", help="width and height in pixels")
    asked = parser.parse_args()
    width, height = map(int, asked.size.split("x"))
    photograph(asked.page, asked.out, asked.at, width, height)


def photograph(page: Path, out: Path, section: str | None, width: int, height: int) -> None:
    """Write a PNG of what a window of that size shows of the page, from `section` on."""
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        sys.exit("no Chromium here; on Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        shown = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
        shown.goto(page.resolve().as_uri())
        if section:
            shown.evaluate("id => document.getElementById(id).scrollIntoView()", section)
        shown.screenshot(path=out)
        browser.close()


if __name__ == "__main__":
    main()
