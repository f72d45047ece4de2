import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from corpus_db.workers import mapped


def halves(items: Sequence[int]) -> list[int]:
    return [item // 2 for item in items]


def named(items: Sequence[str]) -> list[str]:
    """Leave a mark of each process, then take long."""
    Path(items[0], str(os.getpid())).touch()
    time.sleep(60)
    return []


def test_results_come_in_order_from_few_items_and_from_many() -> None:
    for count in (0, 3, 1000):
        assert [half for chunk in mapped(halves, range(count)) for half in chunk] == [n // 2 for n in range(count)]


def large(items: Sequence[str]) -> list[bytes]:
    """Leave a mark, then give results that take long to pass on."""
    Path(items[0], str(os.getpid())).touch()
    return [bytes(2_000_000) for _ in items]


def test_a_signal_to_the_whole_group_ends_it_with_its_results_half_passed_on(tmp_path: Path) -> None:
    for number, signal_ in enumerate((signal.SIGINT, signal.SIGTERM)):
        marks, script = tmp_path / f"marks{number}", tmp_path / "script.py"
        marks.mkdir()
        lines = [
            "from tests.corpus_db.test_workers import *",
            "if __name__ == '__main__':",
            "    signal.signal(signal.SIGTERM, signal.default_int_handler)",
            f"    for part in mapped(large, [{str(marks)!r}] * 50_000): pass",
        ]
        script.write_text("\n".join(lines))
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        options: dict[str, Any] = {"start_new_session": True, "stderr": subprocess.PIPE, "text": True}
        parent = subprocess.Popen([sys.executable, str(script)], env=environment, **options)
        end = time.monotonic() + 60
        while not list(marks.iterdir()) and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(1)
        os.killpg(parent.pid, signal_)
        try:
            told = parent.communicate(timeout=60)[1]
        finally:
            parent.kill()
        assert told.rstrip().endswith("KeyboardInterrupt") and "leaked" not in told


def test_processes_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    marks, script = tmp_path / "marks", tmp_path / "script.py"
    marks.mkdir()
    work = f"list(mapped(named, [{str(marks)!r}] * 500))"
    script.write_text(f"from tests.corpus_db.test_workers import *\nif __name__ == '__main__':\n    {work}\n")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    parent = subprocess.Popen([sys.executable, str(script)], env=environment)
    end = time.monotonic() + 60
    while not list(marks.iterdir()) and time.monotonic() < end:
        time.sleep(0.1)
    workers = [int(mark.name) for mark in marks.iterdir()]
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while any(map(alive, workers)) and time.monotonic() < end:
        time.sleep(0.1)
    assert workers and not any(map(alive, workers))


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"
