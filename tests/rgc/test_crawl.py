import http.server
import io
import json
import random
import re
import signal
import threading
import time
from functools import partial

import pytest
from PIL import Image

from rgc import crawl as opening
from rgc import phantom
from rgc.phantom import Recipe, generate, serving
from tests.rgc.crawling import build, cli, crawl, rows, start_crawl, wait_until

COUNT = "SELECT count(*) FROM fetch WHERE status = 'ok'"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "sample"
    with serving(generate(Recipe(cases=24), folder)) as base:
        yield base


@pytest.fixture(scope="module")
def undisturbed(site, tmp_path_factory):
    db = tmp_path_factory.mktemp("undisturbed") / "corpus.db"
    done = crawl(site, db)
    assert done.returncode == 0, done.stderr
    return db, build(db)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.seen.append((time.monotonic(), self.path))
        status, headers, body = self.server.answer(self.path, len([p for _, p in self.server.seen if p == self.path]))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    """A server whose answers the test decides: server.answer(path, nth) -> status, headers, body."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        httpd.seen, httpd.answer = [], lambda path, nth: (404, {}, b"")
        httpd.base = f"http://127.0.0.1:{httpd.server_port}"
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield httpd
        httpd.shutdown()


def one_case(image_url="/images/full/synpic1.jpg", **fields):
    """Answers of a site of one case whose image's answer is the test's."""

    def answer(path, image):
        if path == "/robots.txt":
            return 200, {}, b"User-agent: *\nDisallow:\n"
        if path.startswith("/rest/encounter/diagnosis.json"):
            return 200, {}, b'[{"encounterID": "c1"}]'
        if path.startswith("/rest/encounter.json"):
            picture = {"imageID": "i1", "imageURL": image_url, "imageCaption": "A cyst.", "modality": "XR - Plain Film"}
            return 200, {}, json.dumps({"encounterID": "c1", "imageList": [picture]} | fields).encode()
        return image

    return answer


def test_kills_at_random_moments_lose_nothing_and_double_nothing(site, undisturbed, tmp_path):
    db, rng = tmp_path / "corpus.db", random.Random(3)
    whole = rows(undisturbed[0], COUNT)[0][0]
    for _ in range(4):
        process = start_crawl(site, db)
        start = rows(db, COUNT)[0][0] if db.exists() else 0
        goal = min(start + rng.randint(2, whole // 5), whole - 1)
        wait_until(lambda goal=goal: db.exists() and tables(db) and rows(db, COUNT)[0][0] >= goal)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert rows(db, COUNT)[0][0] < whole
    done = crawl(site, db)
    assert done.returncode == 0 and "going on" in done.stdout
    assert build(db) == undisturbed[1]
    for table in ("raw_record", "image", "image_ref", "fetch"):
        statement = f"SELECT count(*) FROM {table}"
        assert rows(db, statement) == rows(undisturbed[0], statement), table
    assert not list(tmp_path.rglob("*.part"))


def test_a_crawl_and_build_on_postgresql_give_the_same_version(site, undisturbed, new_postgres, tmp_path):
    db, folder = new_postgres(), {"RGC_DATA": str(tmp_path)}
    done = cli("crawl", "--site", site, "--db", db, env=folder)
    assert done.returncode == 0, done.stderr
    again = cli("crawl", "--site", site, "--db", db, env=folder)
    assert "looking for changes" in again.stdout and not re.search(r"drift|gone:|failed:", again.stdout)
    made = cli("build", "--db", db, "--json", env=folder)
    assert json.loads(made.stdout)["manifest_sha256"] == undisturbed[1]
    counted = cli("sql", "--db", db, "--format", "csv", "SELECT count(*) FROM rgc", env=folder)
    assert counted.stdout.split() == ["count", str(rows(undisturbed[0], "SELECT count(*) FROM rgc")[0][0])]


def tables(db):
    return rows(db, "SELECT 1 FROM sqlite_master WHERE name = 'fetch'")


def test_a_second_crawl_downloads_no_image_again_and_finds_nothing_changed(site, undisturbed, tmp_path):
    db = tmp_path / "corpus.db"
    crawl(site, db)
    before = rows(db, "SELECT count(*) FROM raw_record")
    done = crawl(site, db)
    assert "looking for changes" in done.stdout
    assert set(rows(db, "SELECT DISTINCT change FROM fetch WHERE status = 'ok'")) == {("unchanged",)}
    assert set(rows(db, "SELECT DISTINCT http_status FROM fetch WHERE kind = 'image' AND status = 'ok'")) == {(304,)}
    assert rows(db, "SELECT count(*) FROM raw_record") == before


def test_a_limit_takes_so_many_whole_cases_and_all_goes_on_from_there(site, undisturbed, tmp_path):
    db = tmp_path / "corpus.db"
    first = crawl(site, db, "--limit", 5)
    assert "--limit all" in first.stdout
    assert rows(db, "SELECT count(*) FROM fetch WHERE kind = 'encounter' AND status = 'ok'") == [(5,)]
    assert not rows(db, "SELECT 1 FROM fetch WHERE kind = 'image' AND status = 'pending'")
    assert "going on" in crawl(site, db, "--limit", "all").stdout
    assert build(db) == undisturbed[1]


def test_ctrl_c_ends_within_seconds_and_the_same_command_goes_on(server, tmp_path):
    released = threading.Event()

    def answer(path, nth):
        if "synpic1" in path:
            released.wait(30)
        return one_case()(path, (404, {}, b""))

    server.answer = answer
    db = tmp_path / "corpus.db"
    process = start_crawl(server.base, db)
    wait_until(lambda: any("synpic1" in path for _, path in server.seen))
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=25)  # while the server still holds its answer back
    released.set()
    assert process.returncode == 130 and "goes on" in output and "Traceback" not in output
    assert rows(db, "SELECT status, due FROM fetch WHERE kind = 'image'") == [("pending", 1)]
    assert "going on" in crawl(server.base, db).stdout
    assert rows(db, "SELECT status FROM fetch WHERE kind = 'image'") == [("gone",)]


def test_one_database_takes_one_crawl_at_a_time(server, tmp_path):
    released = threading.Event()
    server.answer = lambda path, nth: one_case()(path, (404, {}, b"")) if released.wait(30) else (500, {}, b"")
    db = tmp_path / "corpus.db"
    process = start_crawl(server.base, db)
    wait_until(lambda: server.seen)
    second = crawl(server.base, db)
    released.set()
    process.communicate(timeout=30)
    assert second.returncode == 1 and "another crawl" in second.stderr and len(second.stderr.splitlines()) == 1


def test_retry_after_is_honoured(server, tmp_path):
    server.answer = lambda path, nth: one_case()(path, (503, {"Retry-After": "2"}, b"") if nth == 1 else (404, {}, b""))
    crawl(server.base, tmp_path / "corpus.db")
    times = [when for when, path in server.seen if "synpic1" in path]
    assert len(times) == 2 and times[1] - times[0] >= 2


def test_retry_failed_asks_for_exactly_what_failed_for_a_transient_reason(server, tmp_path):
    db = tmp_path / "corpus.db"
    server.answer = lambda path, nth: one_case()(path, (500, {}, b""))
    crawl(server.base, db)
    assert rows(db, "SELECT reason, attempts FROM fetch WHERE status = 'failed'") == [("http_5xx", 5)]
    server.seen.clear()
    server.answer = lambda path, nth: one_case()(path, (200, {}, b"not an image"))
    crawl(server.base, db, "--retry-failed")
    assert [path for _, path in server.seen if path != "/robots.txt"] == ["/images/full/synpic1.jpg"]
    server.seen.clear()
    nothing = crawl(server.base, db, "--retry-failed")
    assert nothing.returncode == 0 and "nothing to retry" in nothing.stdout
    assert rows(db, "SELECT reason FROM fetch WHERE status = 'failed'") == [("not_an_image",)]
    assert [path for _, path in server.seen if path != "/robots.txt"] == []


def test_a_case_that_is_gone_takes_its_images_with_it_and_keeps_its_record(server, tmp_path):
    db = tmp_path / "corpus.db"
    picture = io.BytesIO()
    Image.effect_noise((20, 20), 9).save(picture, "PNG")
    server.answer = lambda path, nth: one_case()(path, (200, {"Content-Type": "image/png"}, picture.getvalue()))
    crawl(server.base, db)
    was = server.answer
    server.answer = lambda path, nth: (410, {}, b"") if "encounter.json" in path else was(path, nth)
    done = crawl(server.base, db)
    assert rows(db, "SELECT status, reason FROM fetch WHERE kind = 'image'") == [("gone", "case_gone")]
    assert rows(db, "SELECT count(*) FROM raw_record WHERE kind = 'encounter'") == [(1,)]
    assert "gone" in done.stdout


def test_robots_txt_is_obeyed_and_recorded(server, tmp_path):
    plain = one_case(topicID="t1")
    robots = (200, {}, b"User-agent: *\nDisallow: /rest/topic.json\n")
    server.answer = lambda path, nth: robots if path == "/robots.txt" else plain(path, (404, {}, b""))
    db = tmp_path / "corpus.db"
    crawl(server.base, db)
    assert rows(db, "SELECT status, reason FROM fetch WHERE kind = 'topic'") == [("refused", "robots")]
    assert not [path for _, path in server.seen if "topic" in path]


@pytest.mark.parametrize(
    "answer", [(200, {}, b"<html></html>"), (200, {}, b'{"a": 1}'), (404, {}, b""), (200, {}, b'[{"x":1}]')]
)
def test_a_site_that_is_not_medpix_is_told_in_one_line(server, tmp_path, answer):
    server.answer = lambda path, nth: answer
    done = crawl(server.base, tmp_path / "corpus.db")
    assert done.returncode == 1 and "not a MedPix site" in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_site_that_does_not_answer_is_told_in_one_line(tmp_path):
    done = crawl("http://127.0.0.1:1", tmp_path / "corpus.db")
    assert done.returncode == 1 and "Traceback" not in done.stderr and len(done.stderr.splitlines()) == 1
    assert "resources" not in done.stdout
    assert not list(tmp_path.iterdir()), "a site that never answered is no corpus to build"


def test_a_database_that_moves_to_another_server_says_so(server, tmp_path):
    db = tmp_path / "corpus.db"
    server.answer = lambda path, nth: one_case()(path, (404, {}, b""))
    crawl(server.base, db)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as second:
        second.seen, second.answer = [], server.answer
        threading.Thread(target=second.serve_forever, daemon=True).start()
        done = crawl(f"http://127.0.0.1:{second.server_port}", db)
        second.shutdown()
    assert f"Crawled from {server.base} before" in done.stdout


def test_a_build_of_a_mistyped_database_makes_none(tmp_path):
    done = cli("build", "--db", tmp_path / "nowhere" / "x.db")
    assert done.returncode == 1 and "no such database" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_site_that_goes_away_in_the_middle_leaves_its_resources_due(server, tmp_path):
    def answer(path, nth):
        if path == "/robots.txt" or "diagnosis" in path:
            return 200, {}, json.dumps([{"encounterID": f"c{n}"} for n in range(80)]).encode()
        raise ConnectionError

    server.answer, server.handle_error = answer, lambda *_: None
    db = tmp_path / "corpus.db"
    done = crawl(server.base, db)
    assert done.returncode == 1 and "stopped answering" in done.stderr
    assert rows(db, "SELECT DISTINCT due FROM fetch WHERE kind = 'encounter'") == [(1,)]


@pytest.mark.parametrize(("words", "code"), [(("--limit", "0"), 2), (("--limit", "x"), 2), (("--site", "medpics"), 1)])
def test_bad_words_are_refused(tmp_path, words, code):
    done = cli("crawl", "--db", tmp_path / "a.db", *words)
    assert done.returncode == code and "Traceback" not in done.stderr


def test_a_folder_that_cannot_be_written_is_told_in_one_line(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    done = crawl("http://127.0.0.1:1", blocker / "corpus.db")
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1


def test_a_store_that_cannot_be_written_ends_the_crawl_in_one_line_and_leaves_the_image_due(site, tmp_path):
    (tmp_path / "images").write_text("a file where the folder would be")
    db = tmp_path / "corpus.db"
    done = crawl(site, db, "--limit", 2)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and "images" in done.stderr
    assert rows(db, "SELECT count(*) > 0 FROM fetch WHERE kind = 'image' AND due") == [(1,)]


def test_a_sample_of_another_size_is_rendered_beside_the_one_that_is_there(tmp_path, monkeypatch):
    monkeypatch.setenv("RGC_DATA", str(tmp_path))
    said = []
    for cases in (1, 2, 1):
        monkeypatch.setattr(phantom, "Recipe", partial(Recipe, cases=cases))
        with opening._open_site("sample", said.append) as site:
            assert site.name == "sample"
    assert [line.split(" (")[0] for line in said] == ["Rendering the sample site"] * 2
