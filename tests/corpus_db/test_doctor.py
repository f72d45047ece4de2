import importlib.metadata
import json
import shutil
import sys
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

import cli
from corpus_db import db as database
from corpus_db import doctor, recent


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RGC_DATA", raising=False)


@pytest.fixture
def no_torch(monkeypatch):
    """PyTorch takes seconds to load, and is not what most of these ask about."""
    monkeypatch.setitem(sys.modules, "torch", None)


def told(*words):
    done = CliRunner().invoke(cli.main, ["doctor", *words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def found():
    done = told("--json")
    return done.exit_code, {one["what"]: one for one in json.loads(done.stdout)}


def without(monkeypatch, *names):
    real = importlib.metadata.version

    def version(name):
        if name in names:
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)


def test_where_all_that_is_needed_is_here_it_says_so(no_torch):
    done = told()
    assert done.exit_code == 0, done.stdout
    assert done.stdout.splitlines()[-1] == "all that is needed is here"


def test_a_package_that_every_command_needs_ends_it_with_1_and_the_way_to_get_it(monkeypatch, no_torch):
    without(monkeypatch, "torch", "scrapy")
    code, by_name = found()
    assert (code, by_name["packages"]["state"]) == (1, "missing")
    assert by_name["packages"]["says"] == "no scrapy; no torch"
    assert "make install" in by_name["packages"]["get"]
    assert told().stdout.splitlines()[-1] == "needed and missing: packages"


def test_an_old_package_is_as_none(monkeypatch, no_torch):
    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "7.1.2" if name == "click" else real(name))
    assert found()[1]["packages"]["says"] == "click 7.1.2, 8.2 is needed"


def test_an_extra_that_lacks_is_a_note_with_what_it_serves(monkeypatch, no_torch):
    without(monkeypatch, "pylibjpeg-libjpeg")
    code, by_name = found()
    assert (code, by_name["extra dicom"]["state"]) == (0, "note")
    assert by_name["extra dicom"]["get"].endswith("[dicom]'")
    assert "JPEG lossless" in by_name["extra dicom"]["serves"]


def test_every_extra_of_the_project_is_told_what_it_is_for():
    assert doctor._asked().keys() - {""} == doctor.EXTRAS.keys()


def test_without_pyproject_the_installation_tells_what_is_needed(monkeypatch, tmp_path):
    lines = ["click>=8.2", 'psycopg[binary]>=3.2 ; extra == "postgres"', "pyarrow>=22.0; extra == 'parquet'"]
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: lines)
    assert doctor._asked() == {"": ["click>=8.2"], "postgres": ["psycopg[binary]>=3.2"], "parquet": ["pyarrow>=22.0"]}


def test_programs_that_are_not_here_are_notes_with_their_packages(monkeypatch, no_torch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    code, by_name = found()
    assert code == 0
    assert {by_name[name]["state"] for name in ("Java", "Chromium")} == {"note"}
    assert "METEOR" in by_name["Java"]["serves"] and "jre" in by_name["Java"]["get"]
    assert "chromium" in by_name["Chromium"]["get"]


@pytest.mark.parametrize("gigabytes, state", [(100, "ok"), (6, "note"), (0.2, "missing")])
def test_room_is_told_beside_what_a_full_crawl_takes(monkeypatch, no_torch, gigabytes, state):
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=gigabytes * 1e9))
    code, by_name = found()
    assert (by_name["disk"]["state"], code) == (state, int(state == "missing"))
    assert f"all of MedPix about {doctor.FULL_CRAWL} GB" in by_name["disk"]["says"]


def test_the_corpus_and_the_state_of_its_schema_are_told(monkeypatch, no_torch, tmp_path):
    assert found()[1]["corpus"]["says"] == "none yet in data"
    database.create("data/a.db").dispose()
    recent.remember("crawled", "data/a.db")
    assert "data/a.db, schema current, no version yet" in found()[1]["corpus"]["says"]
    monkeypatch.setattr(database, "schema_state", lambda engine: "older")
    corpus = found()[1]["corpus"]
    assert (corpus["state"], "migrates it: python cli.py build" in corpus["says"]) == ("note", True)


def test_what_does_not_load_is_told_and_the_rest_still_is(monkeypatch, no_torch):
    monkeypatch.setitem(sys.modules, "corpus_db.db", None)
    monkeypatch.delattr("corpus_db.db")
    _, by_name = found()
    assert "cannot be looked at" in by_name["corpus"]["says"]
    assert "does not load" in by_name["GPU"]["says"]


def test_a_card_is_named_with_its_memory(monkeypatch):
    card = SimpleNamespace(name="NVIDIA H100", total_memory=80e9)
    cuda = SimpleNamespace(is_available=lambda: True, device_count=lambda: 1, get_device_properties=lambda number: card)
    torch = SimpleNamespace(cuda=cuda, __version__="2.14", version=SimpleNamespace(cuda="13.0"))
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert found()[1]["GPU"]["says"] == "NVIDIA H100, 80 GB (PyTorch 2.14, CUDA 13.0)"


def test_a_data_folder_that_cannot_be_written_is_missing(no_torch, tmp_path, monkeypatch):
    code, by_name = found()
    assert (code, by_name["data folder"]["state"]) == (0, "ok")
    may = doctor.os.access
    monkeypatch.setattr(doctor.os, "access", lambda place, mode: place != tmp_path and may(place, mode))
    code, by_name = found()
    assert (code, by_name["data folder"]["state"]) == (1, "missing")
    assert "cannot be written" in by_name["data folder"]["says"] and "RGC_DATA" in by_name["data folder"]["get"]
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RGC_DATA", "file")
    assert found()[1]["data folder"]["says"].endswith("file: no folder")
