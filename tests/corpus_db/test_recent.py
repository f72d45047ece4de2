import json
import os
import stat

import pytest

from corpus_db import recent


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RGC_DATA", raising=False)


def test_each_kind_is_remembered_for_itself():
    assert recent.recall("built") is None
    recent.remember("crawled", "data/a.db")
    recent.remember("built", "data/b.db")
    assert (recent.recall("crawled"), recent.recall("built")) == ("data/a.db", "data/b.db")


def test_a_moved_data_folder_still_finds_its_database(tmp_path, monkeypatch):
    recent.remember("built", "data/a.db")
    os.rename("data", "moved")
    monkeypatch.setenv("RGC_DATA", str(tmp_path / "moved"))
    assert recent.recall("built") == str(tmp_path / "moved" / "a.db")


def test_a_database_elsewhere_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RGC_DATA", str(tmp_path / "data"))
    recent.remember("built", "elsewhere/a.db")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert recent.recall("built") == str(tmp_path / "elsewhere" / "a.db")


def test_a_password_is_for_its_owner_alone():
    url = "postgresql+psycopg://me:secret@host/corpus"
    recent.remember("built", url)
    assert recent.recall("built") == url
    assert stat.S_IMODE(os.stat("data/recent.json").st_mode) == 0o600


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b"\xff\xfe", b'{"built": 7}'])
def test_a_damaged_note_is_as_none_and_is_written_anew(tmp_path, damage):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "recent.json").write_bytes(damage)
    assert recent.recall("built") is None
    recent.remember("built", "data/a.db")
    assert json.loads((tmp_path / "data" / "recent.json").read_text())["built"] == "a.db"
    assert os.listdir("data") == ["recent.json"]
