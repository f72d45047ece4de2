"""The sample that the studies here run on, made once by the project's own commands, and a place for their runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.vlt.studies import small
from vlt import studies
from vlt.studies import corpora

RECENT = '{"crawled": "mine.db", "built": "mine.db"}'  # what the user's own commands noted


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the user's note of a corpus of theirs, and beside it what `prepared` made."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "recent.json").write_text(RECENT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RGC_DATA", str(folder))
        patch.setenv("OMP_NUM_THREADS", "1")
        corpora.prepared(small.study(), 0.01, small.ROOT / "cli.py", lambda line: None)
    return folder


@pytest.fixture
def place(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to run in, with that data folder and presets of a few steps."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RGC_DATA", str(home))
    monkeypatch.setattr(studies, "PRESETS", small.PRESETS)
    monkeypatch.setattr("vlt.studies.run.PRESETS", small.PRESETS)
    monkeypatch.setattr("vlt.device.peak", lambda name, where: 1e9)  # it takes a second to measure
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tmp_path
    torch.set_num_threads(before)
