"""The crawl of Open-i's MedPix collection, against a server of its shape in this process."""

import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image

from tests.rgc.crawling import build, crawl, rows

TOTAL = 230


def item(number):
    name = f"MPX{1000 + number // 3}_synpic{number}"
    said = {"id": name, "caption": f"Axial CT with <b>mass</b> number {number} in the liver.", "modalityMajor": "c"}
    place = f"/imgs/512/1/{number}/{name}.png"
    told = {"uid": name.partition("_")[0], "title": "A case", "authors": "A. Resident"}
    return told | {"image": said, "imgLarge": place}


def png(number):
    image = Image.new("L", (32, 32))
    image.putdata([(number * 7 + x * x // 3 + 5 * (x // 32) + number // 256 * 50) % 256 for x in range(1024)])
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def site():
    """Serves `items`, a list of the site's own; yields (address, items, what was asked for)."""
    items, asked = [item(number) for number in range(TOTAL)], []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            parts = urlsplit(self.path)
            asked.append(self.path)
            if parts.path == "/api/search":
                first, last = (int(parse_qs(parts.query)[name][0]) for name in ("m", "n"))
                body = json.dumps({"total": len(items), "list": items[first - 1 : last]}).encode()
            elif any(one.get("imgLarge") == parts.path for one in items):
                body = png(int(parts.path.rpartition("synpic")[2].removesuffix(".png")))
            else:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"open-i+http://127.0.0.1:{server.server_port}", items, asked
    server.shutdown()
    server.server_close()


def images(db):
    return dict(rows(db, "SELECT status, count(*) FROM \"fetch\" WHERE kind = 'image' GROUP BY status"))


def test_all_pages_are_asked_for_and_each_item_becomes_a_pair_under_medpix_number(site, tmp_path):
    address, items, asked = site
    items[3] = item(3) | {"imgLarge": "http://elsewhere.org/x/MPX1001_synpic3.png"}
    items[4] = {"uid": "MPX1001"}
    db = tmp_path / "a.db"
    done = crawl(address, db)
    assert done.returncode == 0, done.stderr
    assert len([path for path in asked if path.startswith("/api/search")]) == 3
    assert images(db) == {"ok": TOTAL - 2, "refused": 1}
    build(db)
    assert rows(db, "SELECT count(*), count(DISTINCT case_id) FROM rgc") == [(TOTAL - 2, 77)]
    assert rows(db, "SELECT upstream_name, caption, modality, credit FROM rgc WHERE source_id LIKE '%synpic7'") == [
        ("synpic7", "Axial CT with mass number 7 in the liver.", "CT", "A. Resident")
    ]


def test_again_it_brings_what_changed_and_what_is_listed_no_more_is_gone(site, tmp_path):
    address, items, _ = site
    db = tmp_path / "a.db"
    assert crawl(address, db).returncode == 0
    before = rows(db, "SELECT count(*) FROM raw_record")
    assert crawl(address, db).returncode == 0
    assert rows(db, "SELECT count(*) FROM raw_record") == before == [(TOTAL,)]
    items[5]["image"]["caption"] = "Axial CT of the liver with a cyst."
    del items[8]
    assert crawl(address, db).returncode == 0
    assert rows(db, "SELECT key, before, after FROM drift WHERE field = 'caption'") == [
        ("MPX1001_synpic5", item(5)["image"]["caption"], "Axial CT of the liver with a cyst.")
    ]
    assert images(db) == {"ok": TOTAL - 1, "gone": 1}
    build(db)
    assert rows(db, "SELECT drop_reason FROM pair WHERE upstream_name = 'synpic8'") == [("gone_upstream",)]


def test_a_limit_takes_so_many_items_and_calls_nothing_gone(site, tmp_path):
    address, _, _ = site
    db = tmp_path / "a.db"
    assert crawl(address, db, "--limit", 120).returncode == 0
    assert images(db) == {"ok": 120}
    assert crawl(address, db).returncode == 0
    assert images(db) == {"ok": TOTAL}
    assert crawl(address, db, "--limit", 20).returncode == 0
    assert images(db) == {"ok": TOTAL}


@pytest.mark.parametrize("odd", [{"list": []}, {"uid": "x"}, 1])
def test_a_server_whose_items_are_none_is_told_in_one_line(site, tmp_path, odd):
    address, items, _ = site
    items[:] = [odd]
    done = crawl(address, tmp_path / "a.db")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "no list of cases" in done.stderr
