import io
import sys

import pytest

from corpus_db import progress

CHUNKS = [[1, 2], [3, 4], [5]]


@pytest.fixture
def clock(monkeypatch):
    """Each look at the clock is ten seconds later."""
    times = iter(range(0, 10_000, 10))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(times)))


def test_a_plain_line_now_and_then_tells_rate_and_time_left(clock):
    said = []
    assert list(progress.told(CHUNKS, 200, "images measured", said.append)) == CHUNKS
    assert said == ["4 of 200 images measured, 0 a second, 16 min left"]


def test_what_ends_soon_tells_nothing():
    said = []
    assert list(progress.told(iter(CHUNKS), 5, "images measured", said.append)) == CHUNKS
    assert said == []


def test_a_terminal_gets_a_bar_that_goes_when_it_is_done(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    assert list(progress.told(CHUNKS, 5, "images measured", pytest.fail)) == CHUNKS
    assert "images measured" in terminal.getvalue() and "?it/s" in terminal.getvalue()
