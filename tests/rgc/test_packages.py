"""ROCO's missing images out of article packages, from a server of PubMed Central's folders in this process."""

import io
import json
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from rgc.packages import package_path, unpacked
from tests.rgc.crawling import cli, rows

FTP = "wget -r ftp://ftp.ncbi.nlm.nih.gov/pub/pmc/oa_package/8d/34/{}.tar.gz -P /path/to/Dir"


def png(level):
    image = Image.new("L", (32, 32))
    image.putdata([(level * 7 + x * x // 3) % 256 for x in range(1024)])
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def package(**files):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, body in files.items():
            info = tarfile.TarInfo(f"PMC1/{name}.jpg")
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return made.getvalue()


@pytest.fixture
def mirror():
    """Yields (address, what it answers by path: bytes or a list of statuses, what was asked for)."""
    answers, asked = {}, []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            answer = answers.get(self.path, 404)
            answer = (answer.pop(0) if len(answer) > 1 else answer[0]) if isinstance(answer, list) else answer
            self.send_response(answer if isinstance(answer, int) else 200)
            body = b"" if isinstance(answer, int) else answer
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", answers, asked
    server.shutdown()
    server.server_close()


@pytest.fixture
def folder(tmp_path):
    """Five rows of three articles, whose images are not there."""
    made = tmp_path / "roco" / "data" / "test" / "radiology"
    made.mkdir(parents=True)
    figures = [("PMC1", "a"), ("PMC1", "b"), ("PMC2", "c"), ("PMC3", "d"), ("PMC1", "lost")]
    (made / "captions.txt").write_text("".join(f"ROCO_{n}\t Axial CT of a mass, {n}.\n" for n in range(5)))
    links = [f"ROCO_{n}\t{FTP.format(article)}\t{figure}.jpg\n" for n, (article, figure) in enumerate(figures)]
    (made / "dlinks.txt").write_text("".join(links))
    return tmp_path / "roco"


def path_of(article):
    return f"/pub/pmc/oa_package/8d/34/{article}.tar.gz"


def take(folder, db, *words):
    return cli("import", "roco", folder, "--db", db, "--json", *words, env={"RGC_DATA": str(folder.parent)})


def reasons(db):
    return dict(rows(db, "SELECT coalesce(reason, status), count(*) FROM \"fetch\" WHERE kind = 'image' GROUP BY 1"))


def test_each_package_is_asked_for_once_and_its_figures_become_the_rows_images(mirror, folder, tmp_path):
    address, answers, asked = mirror
    answers[path_of("PMC1")] = package(a=png(1), b=b"no image", other=png(9))
    answers[path_of("PMC2")] = [503, 503, package(c=png(2))]
    db = tmp_path / "a.db"
    done = take(folder, db, "--fetch", "--mirror", address)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["fetched"] == {
        "packages": 3,
        "images": {"ok": 2, "not_an_image": 1, "not_in_package": 1, "http_404": 1},
    }
    assert asked.count(path_of("PMC1")) == 1 and asked.count(path_of("PMC2")) == 3
    assert reasons(db) == {"ok": 2, "not_an_image": 1, "not_in_package": 1, "http_404": 1}
    built = cli("build", "--db", db, "--json", env={"RGC_DATA": str(tmp_path)})
    assert json.loads(built.stdout)["by_status"] == {"kept": 2}


def test_again_only_what_is_missing_is_asked_for_and_an_import_keeps_what_was_fetched(mirror, folder, tmp_path):
    address, answers, asked = mirror
    answers[path_of("PMC1")] = package(a=png(1), b=png(3), lost=png(4))
    answers[path_of("PMC2")] = [503]
    db = tmp_path / "a.db"
    take(folder, db, "--fetch", "--mirror", address)
    assert reasons(db) == {"ok": 3, "http_5xx": 1, "http_404": 1}
    answers[path_of("PMC2")] = package(c=png(2))
    asked.clear()
    assert json.loads(take(folder, db, "--fetch", "--mirror", address).stdout)["fetched"]["images"]["ok"] == 1
    assert asked.count(path_of("PMC1")) == 0 and reasons(db)["ok"] == 4
    assert take(folder, db).returncode == 0
    assert reasons(db)["ok"] == 4


def test_robots_are_obeyed_and_a_site_that_is_away_ends_it_in_one_line(mirror, folder, tmp_path):
    address, answers, asked = mirror
    answers["/robots.txt"] = b"User-agent: *\nDisallow: /pub/\n"
    answers[path_of("PMC1")] = package(a=png(1))
    db = tmp_path / "a.db"
    take(folder, db, "--fetch", "--mirror", address)
    assert reasons(db) == {"robots": 5} and asked == ["/robots.txt"]
    for source in ("medpix2", "folder"):
        done = cli("import", source, folder, "--fetch", "--db", db)
        assert done.returncode == 2 and "--fetch" in done.stderr


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("ftp://ftp.ncbi.nlm.nih.gov/pub/pmc/oa_package/8d/34/PMC1.tar.gz", path_of("PMC1")),
        ("https://ftp.ncbi.nlm.nih.gov/pub/pmc/oa_package/8d/34/PMC1.tar.gz", path_of("PMC1")),
        ("ftp://elsewhere.org/pub/pmc/oa_package/8d/34/PMC1.tar.gz", None),
        ("ftp://ftp.ncbi.nlm.nih.gov/pub/pmc/../../etc/x.tar.gz", None),
        ("ftp://ftp.ncbi.nlm.nih.gov/secret/x.tar.gz", None),
        ("ftp://[", None),
        (7, None),
    ],
)
def test_only_packages_of_pubmed_central_are_asked_for(address, path):
    assert package_path(address) == path


def test_a_package_that_is_none_or_swells_is_told(monkeypatch):
    monkeypatch.setattr("rgc.packages.MAX_PACKAGE", 100_000)
    assert unpacked(b"no package", {"a.jpg"}) == "broken_archive"
    assert unpacked(package(big=b"\0" * 1_000_000, a=png(1)), {"a.jpg"}) == "broken_archive"
    assert unpacked(package(a=png(1)), {"a.jpg"}) == {"a.jpg": png(1)}
    assert unpacked(package(a=png(1))[:-40], {"b.jpg"}) in ("broken_archive", {})
