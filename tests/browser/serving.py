"""The pages over a hostile corpus, served for a browser by the command itself."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.corpus_db.browsing import DATABASE

CLI = Path(__file__).resolve().parents[2] / "cli.py"


@contextmanager
def served(command: str, folder: Path) -> Iterator[str]:
    """The address of `cli.py COMMAND` over the database in this folder."""
    words = [sys.executable, str(CLI), command, "--port", "0", "--db", str(folder / DATABASE)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            line = server.stderr.readline()
            found = re.search(r"http://127\.0\.0\.1:\d+", line)
            assert found is not None, line + server.stderr.read()
            yield found[0]
        finally:
            server.send_signal(signal.SIGINT)
            assert server.wait(20) == 0
