"""What a test's PostgreSQL corpus writes beside itself goes into the test's own folder."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RGC_DATA", str(tmp_path / "data"))
