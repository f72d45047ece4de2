"""Fixtures that every part's tests share: a fresh database on each engine."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import psycopg
import pytest

from corpus_db import db

_NUMBERS = count(1)


def _postgres_programs() -> Path | None:
    places = [*os.environ.get("PATH", "").split(os.pathsep), *sorted(map(str, _installed()), reverse=True)]
    for place in filter(None, places):
        # a link on the PATH may stand for a wrapper that knows only one data folder: follow it to the real programs
        folder = (Path(place) / "initdb").resolve().parent
        if all((folder / name).is_file() for name in ("initdb", "pg_ctl", "postgres")):
            return folder
    return None


def _installed() -> list[Path]:
    return list(Path("/usr/lib/postgresql").glob("*/bin"))


def _server_user() -> str | None:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    return pytest.skip("PostgreSQL: running as root, and there is no user postgres or nobody to run the server as")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL, without a database, of a server that lives as long as the tests, on a unix socket."""
    programs = _postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL: no initdb, pg_ctl and postgres on PATH or in /usr/lib/postgresql/*/bin")
    user = _server_user()
    # a short path: a unix socket's may not pass 107 bytes
    home = Path(tempfile.mkdtemp(prefix="rgcpg", dir="/tmp"))
    if user:
        shutil.chown(home, user)

    def call(*words: str) -> None:
        done = subprocess.run(words, user=user, cwd=home, capture_output=True, text=True, env=_plain_environment())
        assert done.returncode == 0, done.stdout + done.stderr

    data, log = str(home / "data"), str(home / "log")
    settings = f"-c listen_addresses='' -c unix_socket_directories={home} -c fsync=off -c full_page_writes=off"
    try:
        call(str(programs / "initdb"), "-D", data, "-U", "rgc", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        call(str(programs / "pg_ctl"), "-D", data, "-l", log, "-w", "-o", settings, "start")
        try:
            yield f"postgresql+psycopg://rgc@/{{name}}?host={home}"
        finally:
            call(str(programs / "pg_ctl"), "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _plain_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}


@pytest.fixture
def new_postgres(request: pytest.FixtureRequest) -> Iterator[Callable[[], str]]:
    """A function that makes an empty PostgreSQL database and gives its URL; all are dropped after the test."""
    names: list[str] = []

    def make() -> str:
        server = request.getfixturevalue("postgres_server")
        names.append(f"t{os.getpid()}_{next(_NUMBERS)}")
        _administer(server, f'CREATE DATABASE "{names[-1]}"')
        return server.format(name=names[-1])

    yield make
    for name in names:
        _administer(request.getfixturevalue("postgres_server"), f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _administer(server: str, statement: str) -> None:
    url = server.format(name="postgres").replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


@pytest.fixture(params=["sqlite", "postgresql"])
def new_db(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """A function that gives the address of another fresh database, on each engine in turn."""
    if request.param == "postgresql":
        return request.getfixturevalue("new_postgres")
    return lambda: str(tmp_path / f"corpus{next(_NUMBERS)}" / "corpus.db")


@pytest.fixture
def fresh_db(new_db: Callable[[], str]) -> Iterator[str]:
    """The address of an empty database for db.create, on each engine in turn."""
    address = new_db()
    assert db.parse_url(address)
    yield address
