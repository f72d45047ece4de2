import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.browser.conftest import NAMES

TOOL = Path(__file__).resolve().parents[2] / "tools/picture.py"
HEAD = '<h2 id="b" style="background:blue;margin:0">b</h2>'
PAGE = f'<body style="margin:0"><div style="background:red;height:900px"></div>{HEAD}<div style="height:900px">'


@pytest.mark.skipif(not any(map(shutil.which, NAMES)), reason="no Chromium here; on Debian: apt-get install chromium")
def test_a_picture_begins_at_the_section_that_was_asked_for_and_has_the_asked_size(tmp_path):
    pytest.importorskip("playwright.sync_api", reason="no playwright here; make install has it")
    page, out = tmp_path / "page.html", tmp_path / "out.png"
    page.write_text(PAGE)
    asked = [sys.executable, str(TOOL), str(page), str(out), "--size", "300x200"]
    for words, corner in ([], (255, 0, 0)), (["--at", "b"], (0, 0, 255)):
        subprocess.run([*asked, *words], check=True)
        with Image.open(out) as picture:
            assert picture.size == (300, 200)
            assert picture.convert("RGB").getpixel((299, 0)) == corner
