"""Serve the pages on this machine: Datasette over a database that it cannot write, until Ctrl-C."""

import contextlib
import re
import socket
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from corpus_db.browse.corpus import DATABASE, Corpus
from corpus_db.db import connect_readonly
from corpus_db.errors import UserError
from corpus_db.questions import PAGE, Question, questions

HOST = "127.0.0.1"
_HERE = Path(__file__).resolve().parent
_SETTINGS = {
    "sql_time_limit_ms": 5000,
    "facet_time_limit_ms": 1000,
    "default_page_size": 50,
    "truncate_cells_html": 600,
    "allow_download": False,  # a running database's file is no copy of it; `export` makes one that may be shared
    "suggest_facets": False,
}
_PRIVATE = (
    "The working database, on this machine alone. It holds captions as they came, before de-identification, and who "
    "reviewed what: for what may be passed on, use export or report --public."
)
_FACETS = {
    "rgc": ["modality", "plane", "region", "laterality", "source", "split"],
    "pair": ["status", "drop_reason", "modality", "plane", "source_id"],
}


def check_extra() -> None:
    """Raise UserError where Datasette is not installed."""
    try:
        import datasette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"{error.name} is not installed; get it with: make install, or in a clone: pip install -e '.[browse]'"
        ) from None


def make(corpus: Corpus) -> Any:
    """The Datasette of a corpus; of an SQLite file it holds the database, under the name `corpus`."""
    check_extra()
    from datasette.app import Datasette
    from datasette.database import Database
    from datasette.plugins import DEFAULT_PLUGINS, pm

    from corpus_db.browse import plugin

    class ReadOnly(Database):
        """A database whose every connection is refused writing by SQLite itself."""

        def connect(self, write: bool = False) -> Any:
            if write:
                raise PermissionError("this database is read only")
            connection = connect_readonly(Path(self.path))
            self._all_file_connections.append(connection)
            return connection

    class Browser(Datasette):
        """Knows its corpus before the hooks are first called, which is as it is made."""

        def __init__(self, *files: Any, corpus: Corpus, questions: list[tuple[str, Question]], **options: Any) -> None:
            self.corpus, self.questions = corpus, questions
            super().__init__(*files, **options)

    # where rich is installed, Datasette prints a trace of each address that is not there
    import_module("datasette.handle_exception").rich = None  # type: ignore[attr-defined]
    for name, _ in pm.list_name_plugin():
        if name not in DEFAULT_PLUGINS:  # others that are installed might write
            pm.unregister(name=name)
    pm.register(plugin, name="corpus")
    saved = list(_saved())
    options = {
        "metadata": _metadata(corpus, saved),
        "settings": _SETTINGS,
        "static_mounts": [("-/corpus", _HERE / "static")],
        "template_dir": _HERE / "templates",  # in the place of Datasette's of the same name
    }
    made = Browser([], memory=True, corpus=corpus, questions=saved, **options)
    made.remove_database("_memory")
    if corpus.path is not None:
        made.add_database(ReadOnly(made, path=str(corpus.path), is_mutable=True), name=DATABASE)
    return made


def serve(corpus: Corpus, port: int, ready: Callable[[str], None]) -> None:
    """Answer on 127.0.0.1 until interrupted; `ready` is told the address. Raises UserError where the port is taken."""
    app = make(corpus).app()
    import uvicorn

    with _listening(port) as listener:
        address = f"http://{HOST}:{listener.getsockname()[1]}/"
        options: dict[str, Any] = {
            "log_level": "warning",
            "access_log": False,
            "timeout_graceful_shutdown": 2,
            "ws": "none",
        }
        server = uvicorn.Server(uvicorn.Config(app, **options))
        ready(address)
        with contextlib.suppress(KeyboardInterrupt):  # how a person ends it
            server.run(sockets=[listener])


@contextlib.contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            raise UserError(
                f"port {port}: {error.strerror}; give another one with --port (0: any that is free)"
            ) from None
        listener.listen(64)
        yield listener


def _saved() -> Iterator[tuple[str, Question]]:
    """The page's questions by the name that they have in addresses; none where the page is not installed."""
    if PAGE.is_file():
        for question in questions(PAGE.read_text(encoding="utf-8")):
            yield re.sub(r"\W+", "-", question.title.lower()).strip("-"), question


def _metadata(corpus: Corpus, saved: list[tuple[str, Question]]) -> dict[str, Any]:
    tables: dict[str, Any] = {name: {"facets": facets} for name, facets in _FACETS.items()}
    tables |= {"source": {"label_column": "name"}, "alembic_version": {"hidden": True}}
    queries = {name: {"title": found.title, "sql": found.statements["sqlite"]} for name, found in saved}
    return {
        "title": f"Corpus {Path(corpus.name).name}",
        "description": _PRIVATE,
        "extra_css_urls": ["/-/corpus/browse.css"],
        "databases": {DATABASE: {"description": _PRIVATE, "tables": tables, "queries": queries}},
    }
