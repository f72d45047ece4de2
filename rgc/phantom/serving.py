"""Run the sample's server as a child process for as long as a `with` block lasts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def serving(directory: str | os.PathLike[str]) -> Iterator[str]:
    """Serve a sample folder and yield its base URL, "http://127.0.0.1:PORT".

    The child ends with the block, and also where this process is killed: its stdin is a pipe from here. Raises
    RuntimeError with the child's own words where it does not start.
    """
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    command = [
        sys.executable,
        "-m",
        "rgc.phantom.serve",
        str(Path(directory).absolute()),
        "--port",
        "0",
        "--with-parent",
    ]
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path},
        text=True,
    )
    try:
        assert child.stdout is not None and child.stderr is not None
        line = child.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+", line)
        if address is None:
            child.kill()
            raise RuntimeError(f"the sample's server did not start: {line}{child.stderr.read()}".strip())
        yield address[0]
    finally:
        child.terminate()
        try:
            child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()
