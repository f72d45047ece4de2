"""What tests of the corpus share: an empty database, and a data folder of the test's own."""

from pathlib import Path

import pytest
from sqlalchemy import Engine

from corpus_db import db


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RGC_DATA", str(tmp_path / "data"))


@pytest.fixture
def engine(fresh_db: str) -> Engine:
    """An empty database, on each engine in turn."""
    return db.create(fresh_db)
