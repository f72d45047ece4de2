import io
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner
from datasette.plugins import pm
from PIL import Image
from sqlalchemy import Engine, text

from cli import main
from corpus_db import db
from corpus_db.export import export
from corpus_db.purge import purge
from corpus_db.questions import PAGE, questions
from tests.corpus_db.browsing import EVIL, Pages, hostile
from tests.corpus_db.corpus import Filler, image
from tests.corpus_db.pictures import READERS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("browse")
        patch.setenv("RGC_DATA", str(folder))
        return hostile(folder)


@pytest.fixture(scope="module")
def pages(engine: Engine) -> Pages:
    return Pages(str(engine.url.database))


def sha256_of(engine: Engine, key: str) -> str:
    with engine.connect() as connection:
        statement = text("SELECT image_sha256 FROM pair WHERE upstream_id = :key")
        return str(connection.execute(statement, {"key": key}).scalar())


ADDRESSES = (
    "/",
    "/corpus",
    "/corpus/rgc",
    "/corpus/pair",
    "/corpus/raw_record",
    "/corpus/rgc?_search=liver",
    "/corpus/study_case",
    "/corpus?sql=select+caption,+caption_raw+from+pair",
    "/pair/medpix:evil",
    "/pair/nosuch<script>",
)


@pytest.mark.parametrize("address", ADDRESSES)
def test_markup_in_texts_is_shown_and_never_becomes_part_of_a_page(pages: Pages, address: str) -> None:
    page = pages.ask(address).text
    for harmful in ("<script>document.title", "<img src=x", "<b>c1", "<i>with", "<u>somebody", "nosuch<script>"):
        assert harmful not in page


@pytest.mark.parametrize("address", ["/corpus/pair", "/pair/medpix:evil", "/corpus/rgc?_search=liver"])
def test_a_caption_with_markup_can_still_be_read(pages: Pages, address: str) -> None:
    assert "&lt;script&gt;document.title" in pages.ask(address).text


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_page_asks_for_nothing_beyond_this_machine_and_no_site_may_read_it(pages: Pages, address: str) -> None:
    found = pages.ask(address)
    assert not re.search(r"""(?:src|href|action)=["']?(?:https?:)?//(?!datasette\.io|localhost/)""", found.text)
    assert "frame-ancestors 'none'" in found.headers["content-security-policy"]
    assert found.headers["cross-origin-resource-policy"] == "same-origin"
    assert found.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "address", [*ADDRESSES[:5], "/-/review", "/-/messages", "/-/logout", "/-/actor", "/corpus/-/x"]
)
def test_nothing_can_be_written(pages: Pages, address: str, method: str) -> None:
    assert pages.ask(address, method).status_code == 405


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM pair", "PRAGMA user_version=9", "ATTACH 'x.db' AS x", "SELECT load_extension('x')", "VACUUM"],
)
def test_sql_cannot_write(pages: Pages, engine: Engine, statement: str) -> None:
    before = Path(str(engine.url.database)).read_bytes()
    assert pages.ask("/corpus.json", params={"sql": statement}).status_code == 400
    assert Path(str(engine.url.database)).read_bytes() == before


def test_the_connections_refuse_to_write(pages: Pages) -> None:
    database = pages.datasette.get_database("corpus")
    with pytest.raises(PermissionError):
        database.connect(write=True)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        database.connect().execute("DELETE FROM pair")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "192.168.0.9:8001", "localhost.", ""])
def test_another_name_of_this_machine_is_refused(pages: Pages, host: str) -> None:
    assert pages.ask("/pair/medpix:evil", headers={"host": host}).status_code == 403


@pytest.mark.parametrize("host", ["localhost:8001", "127.0.0.1:9", "[::1]:8001", "LOCALHOST"])
def test_a_loopback_name_is_answered(pages: Pages, host: str) -> None:
    assert pages.ask("/pair/medpix:evil", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(("size", "side"), [("thumb", 48), ("image", 48)])
def test_an_image_is_shown_as_jpeg(pages: Pages, engine: Engine, size: str, side: int) -> None:
    for _ in range(2):  # made, then from memory
        found = pages.ask(f"/-/{size}/{sha256_of(engine, 'plain')}")
        assert (found.status_code, found.headers["content-type"]) == (200, "image/jpeg")
        assert Image.open(io.BytesIO(found.content)).size == (side, side)


def test_a_picture_is_asked_for_again_and_sent_once(pages: Pages, engine: Engine) -> None:
    address = f"/-/thumb/{sha256_of(engine, 'plain')}"
    found = pages.ask(address)
    again = pages.ask(address, headers={"if-none-match": found.headers["etag"]})
    assert (again.status_code, again.content, found.headers["cache-control"]) == (304, b"", "private, no-cache")


def test_what_was_purged_meanwhile_is_shown_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RGC_DATA", str(tmp_path))
    engine = hostile(tmp_path)
    pages, sha256 = Pages(str(engine.url.database)), sha256_of(engine, "plain")
    assert pages.ask(f"/-/thumb/{sha256}").status_code == 200
    purge(engine, "medpix:plain", readers=READERS)
    assert pages.ask(f"/-/thumb/{sha256}").status_code == 404
    assert "taken down" in pages.ask("/pair/medpix:plain").text


def test_an_image_that_became_no_pair_and_a_shared_copy_can_be_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RGC_DATA", str(tmp_path))
    engine = hostile(tmp_path)
    filler = Filler(engine, "other")
    filler.case("late", image("failed", "late"))
    filler.bytes_of("failed", "", "refused", "not_an_image")
    assert "not_an_image" in Pages(str(engine.url.database)).ask("/pair/synpicfailed").text
    export(engine, None, "sqlite", tmp_path / "out", with_images=True)
    shared = Pages(str(tmp_path / "out" / "corpus.db"))
    assert "whitespace" in shared.ask("/pair/medpix:plain").text
    assert shared.ask(f"/-/thumb/{sha256_of(engine, 'plain')}").headers["content-type"] == "image/jpeg"
    for address in ("/", "/corpus/rgc", "/corpus/pair"):
        assert shared.ask(address).status_code == 200


@pytest.mark.parametrize("name", ["0" * 64, "A" * 64, "..%2f..%2fcorpus.db", "x", "..", "%00", "../../etc/passwd"])
def test_only_images_of_the_database_are_shown(pages: Pages, name: str) -> None:
    for size in ("thumb", "image"):
        found = pages.ask(f"/-/{size}/{name}")
        if found.status_code == 302:  # Datasette has another way of writing such characters
            found = pages.ask(found.headers["location"])
        assert found.status_code == 404


@pytest.mark.parametrize("path", ["../secret.png", "/etc/hostname", "images/no/ne/none.png", "corpus.db"])
def test_a_path_that_leads_out_or_nowhere_shows_that_the_image_is_not_here(tmp_path: Path, path: str) -> None:
    engine = hostile(tmp_path / "data")
    Image.new("L", (9, 9)).save(tmp_path / "secret.png")
    sha256 = sha256_of(engine, "plain")
    with engine.begin() as connection:
        connection.execute(text("UPDATE image SET path = :path WHERE sha256 = :key"), {"path": path, "key": sha256})
    found = Pages(str(engine.url.database)).ask(f"/-/thumb/{sha256}")
    assert found.headers["content-type"] == "image/svg+xml" and "image not here" in found.text


def test_tables_show_thumbnails_and_lead_to_pairs(pages: Pages, engine: Engine) -> None:
    for address in ("/corpus/rgc", "/corpus/pair", "/corpus?sql=select+pair_id,image_path,sha256+from+rgc"):
        page = pages.ask(address).text
        assert f'<img src="/-/thumb/{sha256_of(engine, "plain")}"' in page and 'href="/pair/medpix:plain"' in page
    assert "/-/thumb/" not in pages.ask("/corpus/raw_record").text  # the hash of an answer is no image's


def test_facets_are_offered(pages: Pages) -> None:
    facets = {name: set(pages.ask(f"/corpus/{name}.json").json()["facet_results"]) for name in ("rgc", "pair")}
    assert facets["rgc"] == {"modality", "plane", "region", "laterality", "source", "split"}
    assert facets["pair"] == {"status", "drop_reason", "modality", "plane", "source_id"}


def test_captions_are_found_by_the_words_that_search_takes(pages: Pages) -> None:
    def found(words: str, name: str = "rgc") -> list[str]:
        rows = pages.ask(f"/corpus/{name}.json", params={"_search": words, "_shape": "objects"}).json()["rows"]
        return [row["pair_id" if name == "rgc" else "id"] for row in rows]

    assert found("effus*") == ["medpix:plain"] == found("effus*", "pair") == found("effusion NEAR/2 liver")
    refused = pages.ask("/corpus/rgc", params={"_search": "NEAR/99 x"})
    assert refused.status_code == 400 and "change the words" in refused.text
    assert 'name="_search"' in pages.ask("/corpus/rgc").text


@pytest.mark.parametrize("address", ["/nothing", "/corpus/nothing", "/corpus/rgc/nothing", "/corpus/~3Cb~3Ebold"])
def test_an_address_that_is_not_there_says_so_and_leads_on(pages: Pages, address: str) -> None:
    found = pages.ask(address)
    assert found.status_code == 404
    assert 'href="/corpus/rgc"' in found.text and "<b>bold" not in found.text


def test_every_question_of_the_docs_is_saved_and_answered(pages: Pages) -> None:
    titles = {question.title for question in questions(PAGE.read_text())}
    assert {question.title for _, question in pages.datasette.questions} == titles
    for name, question in pages.datasette.questions:
        assert pages.ask(f"/corpus/{name}.json").json()["ok"], question.title


def test_a_pairs_page_tells_its_whole_story(pages: Pages) -> None:
    page = pages.ask("/pair/medpix:plain").text
    for told in ("whitespace", "CT - noncontrast", "synpicplain", "/images/full/synpicplain.png", "v1 (current)"):
        assert told in page
    assert "A title &lt;i&gt;with&lt;/i&gt; markup" in page and "Nobody has decided on it." in page
    assert "unknown_modality" in pages.ask("/pair/medpix:strange%231").text
    assert "modality" in pages.ask("/pair/synpicclash").text


def test_what_is_not_there_is_told_plainly(pages: Pages) -> None:
    found = pages.ask("/pair/nosuch")
    assert found.status_code == 404 and "no pair or image of that id or name" in found.text
    assert pages.ask("/pair/?key=synpicevil").headers["location"] == "/pair/synpicevil"


def test_other_plugins_that_are_installed_stay_out(engine: Engine) -> None:
    pm.register(ModuleType("stranger"), name="stranger")
    Pages(str(engine.url.database))
    assert pm.get_plugin("stranger") is None


def test_an_open_build_shows_what_was_there_before(pages: Pages, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM pair"))
        assert pages.ask("/corpus/pair.json").json()["filtered_table_rows_count"] == 6
        connection.rollback()


def test_a_missing_extra_is_told_in_one_line(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasette", None)
    for command in ("browse", "review"):
        done = CliRunner().invoke(main, [command, "--db", str(engine.url.database)])
        assert done.exit_code == 1 and "pip install -e '.[browse]'" in done.stderr and done.stderr.count("\n") == 1


def test_postgresql_is_told_what_to_do(new_postgres) -> None:
    address = new_postgres()
    db.create(address)
    done = CliRunner().invoke(main, ["browse", "--db", address])
    assert done.exit_code == 1 and "export --format sqlite" in done.stderr


def test_a_taken_port_is_told_in_one_line(engine: Engine) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = CliRunner().invoke(main, ["browse", "--db", str(engine.url.database), "--port", port])
    assert done.exit_code == 1 and f"port {port}: Address already in use" in done.stderr


def test_it_serves_on_loopback_until_ctrl_c(engine: Engine) -> None:
    words = [sys.executable, str(ROOT / "cli.py"), "browse", "--port", "0", "--db", str(engine.url.database)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as served:
        assert served.stderr is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/", served.stderr.readline())
        assert found is not None
        with urllib.request.urlopen(f"{found[0]}pair/medpix:evil") as page:
            assert EVIL[:8] not in page.read().decode()
        time.sleep(0.2)
        served.send_signal(signal.SIGINT)
        assert served.wait(20) == 0 and served.stderr.read() == ""
