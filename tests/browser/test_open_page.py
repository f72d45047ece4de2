import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    "fine": "<p>fine</p><img src='data:,'>",
    "console": "<script>console.error('said an error')</script>",
    "thrown": "<script>setTimeout(() => { throw new Error('thrown late') }, 50)</script>",
    "elsewhere": "<img src='https://example.org/picture.png'>",
    "elsewhere_later": "<script>window.onload = () => fetch('https://example.org/data').catch(() => 0)</script>",
}
TESTS = """
from pathlib import Path
import pytest

@pytest.mark.parametrize("name", {names})
def test_page(open_page, name):
    page = open_page(Path(__file__).with_name(name + ".html"))
    page.wait_for_timeout(150)
"""


def test_a_page_with_an_error_or_a_request_beyond_the_machine_fails_its_test(chromium, tmp_path):
    for name, body in PAGES.items():
        (tmp_path / f"{name}.html").write_text(f"<!doctype html><title>{name}</title>{body}")
    (tmp_path / "conftest.py").write_text("from tests.browser.conftest import *\n")
    (tmp_path / "test_pages.py").write_text(TESTS.format(names=list(PAGES)))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "-rE"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, str(tmp_path)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    failed = {line.partition("[")[2].partition("]")[0] for line in done.stdout.splitlines() if line[:6] == "ERROR "}
    assert failed == PAGES.keys() - {"fine"}, done.stdout
    for said in ("said an error", "thrown late", "https://example.org/picture.png", "https://example.org/data"):
        assert said in done.stdout


def test_pictures_are_kept_of_a_phone_a_desktop_and_the_dark(open_page, shot, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(
        "<!doctype html><style>@media (prefers-color-scheme: dark) { body { background: black } }</style><p>x</p>"
    )
    phone, desktop, dark = (Image.open(path).convert("RGB") for path in shot(open_page(page), "page"))
    assert [picture.size for picture in (phone, desktop, dark)] == [(390, 844), (1280, 900), (1280, 900)]
    assert (desktop.getpixel((1000, 800)), dark.getpixel((1000, 800))) == ((255, 255, 255), (0, 0, 0))


@pytest.mark.parametrize("target", ["http://127.0.0.1:1/", "file:///nowhere/page.html"])
def test_a_page_that_is_not_there_is_an_error(chromium, open_page, target):
    with pytest.raises(Exception, match="ERR_"):
        open_page(target)
