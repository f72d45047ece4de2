"""Run real crawls: the command line in a process of its own, against servers in processes of their own."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def cli(*words, env=None, timeout=240):
    """One command, to its end."""
    command = [sys.executable, str(ROOT / "cli.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=os.environ | (env or {}))


def crawl(site, db, *words, **options):
    """One crawl; the data folder is the database's own."""
    folder = str(Path(db).parent)
    return cli("crawl", "--site", site, "--db", db, *words, env={"RGC_DATA": folder}, **options)


def start_crawl(site, db):
    """A crawl that goes on while the test does."""
    command = [sys.executable, str(ROOT / "cli.py"), "crawl", "--site", site, "--db", str(db)]
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env=os.environ | {"RGC_DATA": str(Path(db).parent)}, **quiet)


def build(db):
    """Build a version and return its manifest hash."""
    done = cli("build", "--db", db, "--json", env={"RGC_DATA": str(Path(db).parent)})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["manifest_sha256"]


def rows(db, statement, *values):
    """Rows of an SQLite database."""
    with closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as connection:
        return connection.execute(statement, values).fetchall()


def wait_until(condition, seconds=60):
    """Poll until something holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@contextmanager
def medpix_site(*options):
    """The server of real records that lies beside the real data; yields its address."""
    server = Path(os.environ["RGC_REAL_DATA"]).parent / "medpix_site" / "serve.py"
    command = [sys.executable, str(server), "--port", "0", *map(str, options)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield re.search(r"http://[\d.:]+", process.stdout.readline()).group()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
        process.stdout.close()


def json_lines(path):
    """The objects of a JSON Lines file."""
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
