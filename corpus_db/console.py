"""What every command shares: the database it works on, and one clear line where something outside is at fault."""

import io
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click

from corpus_db import recent
from corpus_db.errors import UserError

if TYPE_CHECKING:
    from sqlalchemy import Engine

NO_CORPUS = "no corpus yet; make one with: make rgc"
_WRITABLE = "give a place that can be written (-o for what is made, --db or RGC_DATA for a database)"
_ended_by: list[int] = []  # the signal, where it was not Ctrl-C's
ADVICE = {  # words of a message, in lower case, and what to do about it
    "disk is full": "free some space, then run the same command again",
    "no space left": "free some space, then run the same command again",
    "quota exceeded": "free some space, then run the same command again",
    "read-only": _WRITABLE,
    "readonly": _WRITABLE,
    "permission denied": _WRITABLE,
    "locked": "another command is writing to it; wait for it to end, then run this one again",
    "malformed": "the file is damaged: go back to a copy of it, or give another with --db",
}


class Commands(click.Group):
    """Commands that end in one line where the data, the site or the machine is at fault.

    `sections`: the titles that help lists them under, each with the names of its commands.
    """

    def __init__(self, *args: Any, sections: Mapping[str, Sequence[str]] | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.sections = sections or {}

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Each command with its whole first sentence, under its section's title."""
        named = {name for names in self.sections.values() for name in names}
        rest = {"Other commands" if named else "Commands": sorted(self.commands.keys() - named)}
        for title, names in {**self.sections, **rest}.items():
            rows = [(name, (self.commands[name].help or "").partition("\n\n")[0]) for name in names]
            if rows:
                with formatter.section(title):
                    formatter.write_dl([(name, " ".join(text.split())) for name, text in rows])

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """As click's, with streams that are there, and a plain end where somebody asks for one."""
        _open_closed_streams()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, _terminated)
        return super().main(*args, **kwargs)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with one_line_errors():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a terminal that cannot show a character gets its escape
                stream.reconfigure(errors="backslashreplace")
        with one_line_errors():
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result


def _terminated(number: int, _: object) -> None:
    """SIGTERM: what holds a lock or a process lets go of it, as at Ctrl-C."""
    _ended_by.append(number)
    raise KeyboardInterrupt


def _open_closed_streams() -> None:
    """Open to nowhere what the caller closed (`>&-`): else the next file opened, a database even, takes its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            handle = os.open(os.devnull, os.O_RDWR)
            if handle != number:
                os.dup2(handle, number)
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn trouble from outside the program into click's kind of error, which is printed as a line."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo("interrupted; the same command goes on from here", err=True)
        raise click.exceptions.Exit(128 + (_ended_by or [signal.SIGINT])[0]) from None
    except (click.ClickException, click.exceptions.Exit, BrokenPipeError):
        raise  # click tells the first; for the last, the reader of our output having gone, it ends quietly
    except Exception as error:
        line = trouble(error)
        if line is None:
            raise
        _drop_unwritable_output()
        raise click.ClickException(line) from error


def trouble(error: Exception) -> str | None:
    """What went wrong outside the program, in a line; None for a defect of the program."""
    import sqlite3

    from sqlalchemy.exc import DBAPIError

    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        line = f"{where}{error.strerror}"
    elif isinstance(error, DBAPIError | sqlite3.Error):
        line = str(error.orig if isinstance(error, DBAPIError) else error).strip().partition("\n")[0]
    else:
        return None
    advice = next((advice for words, advice in ADVICE.items() if words in line.lower()), None)
    return f"{line}; {advice}" if advice else line


def _drop_unwritable_output() -> None:
    """Forget output that cannot be written, else the interpreter tries again at its end and complains."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Limit(click.ParamType):
    """A number of cases, or all."""

    name = "N|all"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "all":
            return value
        if not (str(value).isascii() and str(value).isdigit() and int(value)):
            self.fail(f"{value!r}: give a whole number of 1 or more, or all", param, ctx)
        return int(value)


def database_option_of(default: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """--db, which is `default` where it is not given."""
    says = f"An SQLite file or postgresql+psycopg://user@host/name  [default: {default}]"
    return click.option("--db", metavar="DB", callback=_named, help=says)


def _named(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value == "":  # of a script's unset variable, most likely: the default might be another corpus than is meant
        raise click.BadParameter("it is empty: name a database, or leave --db out", ctx, param)
    return value


database_option = database_option_of("the one built last")
filled_database_option = database_option_of("the one filled last")


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """--json."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")(command)


def known_versions(ctx: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """For the shell: the names of the versions of the SQLite file that would be used; none where there is trouble."""
    import sqlite3
    from pathlib import Path

    path = Path(ctx.params.get("db") or recent.recall("built") or recent.recall("crawled") or "")
    with suppress(sqlite3.Error, OSError):
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            names = [name for (name,) in connection.execute("SELECT name FROM version ORDER BY id")]
        return [name for name in names if name.startswith(begun)]
    return []


def chosen(db: str | None, *kinds: recent.Kind) -> str:
    """The database that the user named, else the one last of the first kind that there is, named on stderr."""
    if db:
        return db
    from corpus_db.db import parse_url, shown

    found = next(filter(None, map(recent.recall, kinds)), None)
    if found is None:
        raise UserError(NO_CORPUS)
    click.echo(f"database: {shown(parse_url(found))}", err=True)
    return found


@contextmanager
def reading(db: str | None) -> "Iterator[Engine]":
    """An engine that only reads the chosen database."""
    from corpus_db.db import open_readonly

    engine = open_readonly(chosen(db, "built", "crawled"))
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def writing(db: str | None, *kinds: recent.Kind) -> "Iterator[Engine]":
    """An engine that writes the chosen database, which must be there, and holds its lock."""
    from corpus_db.db import exclusive, open_existing

    engine = open_existing(chosen(db, *(kinds or ("built", "crawled"))))
    try:
        with exclusive(engine):
            yield engine
    finally:
        engine.dispose()


@contextmanager
def filling(db: str | None, source: str) -> "Iterator[Engine]":
    """An engine that writes the chosen database, or a new one of the source's name; `build` takes it next."""
    from corpus_db import db as database

    known = db or recent.recall("crawled") or recent.recall("built")
    url = chosen(db, "crawled", "built") if known else str(recent.data_folder() / f"{source}.db")
    with database.filling(url) as engine:
        yield engine
    recent.remember("crawled", url)


def show(found: Any, as_json: bool, render: Callable[[Any], Iterable[str]]) -> None:
    """Print what was found, as JSON or as lines for people."""
    lines = [json.dumps(found, indent=1, default=str)] if as_json else render(found)
    click.echo("\n".join(lines))


def notice(line: str) -> None:
    """Say how far a long command has come, on stderr."""
    click.echo(line, err=True)
