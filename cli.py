"""The command line: parse, call, print. What a command does is in the package that it calls."""

import importlib.util
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def hand_over() -> None:
    """Go on in the project's own .venv where this interpreter lacks what the project needs."""
    if all(importlib.util.find_spec(name) for name in ("click", "sqlmodel", "scrapy")):
        return
    python = HERE / ".venv" / "bin" / "python"
    if python.exists() and Path(sys.prefix).resolve() != (HERE / ".venv").resolve():
        os.execv(str(python), [str(python), str(HERE / "cli.py"), *sys.argv[1:]])
    sys.exit("run: make install")


if __name__ == "__main__":
    hand_over()

import io
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click

from corpus_db import recent
from corpus_db.errors import UserError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from corpus_db.build import BuildResult
    from corpus_db.records import Readers

NO_CORPUS = "no corpus yet; make one with: make rgc"
ADVICE = {  # words of a message, in lower case, and what to do about it
    "disk is full": "free some space, then run the same command again",
    "no space left": "free some space, then run the same command again",
    "quota exceeded": "free some space, then run the same command again",
    "read-only": "give a place that can be written (--db, or RGC_DATA for the data folder)",
    "readonly": "give a place that can be written (--db, or RGC_DATA for the data folder)",
    "permission denied": "give a place that can be written (--db, or RGC_DATA for the data folder)",
    "locked": "another command is writing to it; wait for it to end, then run this one again",
    "malformed": "the file is damaged: go back to a copy of it, or give another with --db",
}


class Commands(click.Group):
    """Commands that end in one line where the data, the site or the machine is at fault."""

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


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn trouble from outside the program into click's kind of error, which is printed as a line."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo("interrupted; the same command goes on from here", err=True)
        raise click.exceptions.Exit(130) from None
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


def database_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """--db."""
    says = (
        "An SQLite file or postgresql+psycopg://user@host/name  "
        "[default: crawl: data/SITE.db; build: the one crawled last; others: the one built last]"
    )
    return click.option("--db", metavar="DB", help=says)(command)


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """--json."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")(command)


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


def readers() -> "Readers":
    """What reads a source's raw records, by the source's shape."""
    from rgc.parse import read

    return {"medpix": read}


def show(found: Any, as_json: bool, render: Callable[[Any], Iterable[str]]) -> None:
    """Print what was found, as JSON or as lines for people."""
    lines = [json.dumps(found, indent=1, default=str)] if as_json else render(found)
    click.echo("\n".join(lines))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """From a MedPix site to a versioned corpus of radiology images and captions that answers SQL.

    \b
    Example:
      python cli.py crawl --site sample && python cli.py build
      python cli.py sql "SELECT modality, count(*) FROM rgc GROUP BY modality"
    """


@main.command()
@click.option("--site", default="auto", show_default=True, metavar="auto|medpix|sample|URL", help="Where to crawl.")
@click.option(
    "--limit", type=Limit(), metavar="N|all", help="How many cases  [default: 500 of the live site, all of others]"
)
@click.option("--retry-failed", is_flag=True, help="Ask again only for what failed for a passing reason.")
@database_option
@click.pass_context
def crawl(ctx: click.Context, site: str, limit: Any, retry_failed: bool, db: str | None) -> None:
    """Fetch a site's cases, topics and images into a database; the same command goes on after an interruption.

    \b
    auto     the live MedPix where it answers, else the embedded sample site
    medpix   the live MedPix
    sample   the embedded sample site: synthetic images, MedPix's kinds of noise
    URL      any server of MedPix's shape

    \b
    Example:
      python cli.py crawl --site sample
      python cli.py crawl --site http://127.0.0.1:8000 --limit 50 --db data/trial.db
    """
    from rgc import crawl as crawling

    ctx.exit(crawling.run(site, db, limit, retry_failed, click.echo).exit_code)


@main.command()
@click.option("--name", help="The version's name  [default: v1, v2, ...]")
@json_option
@database_option
def build(name: str | None, as_json: bool, db: str | None) -> None:
    """Curate what was crawled into a new version: clean, label, split, freeze.

    \b
    Example:
      python cli.py build --name first
    """
    from corpus_db import build as building
    from corpus_db.db import exclusive, open_existing

    db = chosen(db, "crawled", "built")
    engine = open_existing(db)
    try:
        with exclusive(engine):
            result = building.build(engine, readers(), name)
            recent.remember("built", db)
    finally:
        engine.dispose()
    show(result if not as_json else vars(result), as_json, build_lines)


def build_lines(result: "BuildResult") -> Iterator[str]:
    """What a build made, and what it left out and why."""
    kept = result.by_status["kept"]
    splits = ", ".join(f"{name} {result.by_split[name]}" for name in ("train", "val", "test"))
    again = " (as before: nothing has changed)" if result.reused else ""
    yield f"Version {result.name}{again}: {kept} pairs of {result.cases} cases; {splits}."
    yield "modality    " + ", ".join(f"{name} {count}" for name, count in result.by_modality.most_common())
    left_out = [*result.by_drop_reason.most_common(), ("without image", result.without_image)]
    left_out.append(("withheld upstream", result.withheld))
    if any(count for _, count in left_out):
        yield "left out    " + ", ".join(f"{reason} {count}" for reason, count in left_out if count)
    for what, unknown in (("modality", result.unknown_modalities), ("plane", result.unknown_planes)):
        if unknown:
            yield f"unknown {what}: " + ", ".join(f"{word!r} {count}" for word, count in unknown.most_common())
    if result.unread_sources:
        yield "not read: " + ", ".join(result.unread_sources)
    yield f"manifest    {result.manifest_sha256}"
    if "sample" in result.sources:
        yield "This corpus is of the embedded sample site: rendered phantoms, not patients."


@main.command()
@click.argument("statement", metavar="SELECT")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
    help="How to print the rows.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, 1e6, min_open=True),
    default=30,
    show_default=True,
    metavar="SECONDS",
    help="Stop the statement after this long.",
)
@database_option
def sql(statement: str, form: str, timeout: float, db: str | None) -> None:
    """Answer one SQL statement, which can only read; docs/query.md has the tables.

    \b
    Example:
      python cli.py sql "SELECT modality, count(*) FROM rgc GROUP BY modality"
      python cli.py sql --format csv "SELECT image_path, caption FROM rgc" > pairs.csv
    """
    from corpus_db.sql import query
    from corpus_db.sql_output import write

    width = {} if sys.stdout.isatty() else {"cell_width": sys.maxsize}  # a file gets its text whole
    write(query(chosen(db, "built", "crawled"), statement, timeout), form, sys.stdout, **width)


@main.command()
@json_option
@database_option
def stats(as_json: bool, db: str | None) -> None:
    """Count what a corpus holds, from what was asked for to the current version.

    \b
    Example:
      python cli.py stats
    """
    from corpus_db import stats as counting

    with reading(db) as engine:
        show(counting.stats(engine), as_json, counting.render_stats)


@main.command()
@json_option
@database_option
def versions(as_json: bool, db: str | None) -> None:
    """List the versions of a corpus, oldest first.

    \b
    Example:
      python cli.py versions --json
    """
    from corpus_db import stats as counting

    with reading(db) as engine:
        show(counting.versions(engine), as_json, counting.render_versions)


@main.command()
@click.argument("key", metavar="PAIR")
@json_option
@database_option
def explain(key: str, as_json: bool, db: str | None) -> None:
    """Tell all that is known of a pair: where it came from, what was done to it, and where it went.

    PAIR is a pair's id, an upstream image id or name, or the beginning of one.

    \b
    Example:
      python cli.py explain synpic54610
    """
    from corpus_db import explain as explaining
    from corpus_db.explain_output import render_explain

    with reading(db) as engine:
        show(explaining.explain(engine, key, readers()), as_json, render_explain)


def _words(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(word.strip().lower() for word in value.split(",") if word.strip())


@main.command()
@click.option("--seed", type=int, help="What the images and captions follow from  [default: 1]")
@click.option("--cases", type=int, help="How many cases  [default: 420]")
@click.option("--noise", type=click.Choice(["none", "medpix", "heavy"]), help="Of the captions  [default: medpix]")
@click.option("--noise-seed", type=int, help="What the noise follows from  [default: the seed]")
@click.option(
    "--wordings", type=click.Choice(["development", "measure"]), help="Of the captions  [default: development]"
)
@click.option(
    "--modality", "modalities", callback=_words, metavar="ct,mr,dx,us,nm", help="Some of these  [default: all]"
)
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False), help="A new or empty folder.")
def sample(output: str, **settings: Any) -> None:
    """Render a synthetic MedPix into a folder; the same settings give the same bytes.

    \b
    Example:
      python cli.py sample --seed 7 --cases 100 --noise none --modality ct,mr -o data/clean
    """
    from rgc.phantom import Recipe, generate

    try:
        recipe = Recipe(**{name: value for name, value in settings.items() if value is not None})
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    with click.progressbar(length=recipe.cases, label="cases", file=sys.stderr, show_pos=True) as bar:
        try:
            folder = generate(recipe, output, os.cpu_count() or 1, lambda done, _: bar.update(done - bar.pos))
        except ValueError as error:  # the folder holds something else
            raise UserError(str(error)) from error
    click.echo(f"{folder}: {recipe.cases} cases; serve them with: {sys.executable} -m rgc.phantom.serve {output}")


if __name__ == "__main__":
    main(prog_name="python cli.py")
