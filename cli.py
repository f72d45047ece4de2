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

from typing import TYPE_CHECKING, Any

import click

from corpus_db import recent
from corpus_db.console import (
    Commands,
    chosen,
    database_option,
    json_option,
    notice,
    reading,
    show,
    writing,
)
from rgc import commands as getting
from vlt import commands as training
from vlt import study_commands as studying
from vlt import task_commands as tuning

if TYPE_CHECKING:
    from corpus_db.records import Readers


def readers() -> "Readers":
    """What reads a source's raw records, by the source's shape."""
    from corpus_db import importers
    from rgc.parse import read

    return {"medpix": read, **importers.readers()}


def _specs(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    specs = tuple(spec.strip() for value in values for spec in value.split(","))
    for spec in specs:  # an empty one is most likely a variable that is not set: building without it would leak
        source, colon, split = spec.partition(":")
        if not source or (colon and not split):
            raise click.BadParameter(f"{spec!r}: name a set, as vqa-rad, or one of its splits, as vqa-rad:test")
    return specs


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """From a MedPix site to a versioned corpus of radiology images and captions that answers SQL.

    \b
    Example:
      python cli.py crawl --site sample && python cli.py build
      python cli.py sql "SELECT modality, count(*) FROM rgc GROUP BY modality"
    """


@main.command()
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="IN.jsonl")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="OUT.jsonl",
    help="Where the cleaned lines go.",
)
def clean(source: Path, output: Path) -> None:
    """Clean any captions: lines of {"id", "raw"} become lines of {"id", "clean", "drop_reason", "edits"}.

    \b
    Example:
      python cli.py clean captions.jsonl -o clean.jsonl
    """
    from corpus_db.clean import clean_file

    counts = clean_file(source, output)
    click.echo(", ".join(f"{name} {count}" for name, count in counts.most_common()) or "no captions")


@main.command()
@click.option("--name", help="The version's name  [default: v1, v2, ...]")
@click.option(
    "--exclude",
    "excluding",
    multiple=True,
    callback=_specs,
    metavar="SOURCE[:SPLIT],...",
    help="Leave out what an imported evaluation set holds, with the cases of its images.",
)
@click.option("--whole-cases/--images-only", default=True, help="With --exclude: the case too, or the images alone.")
@click.option("--no-audit", is_flag=True, help="Do not prove the new version; it may leak.")
@json_option
@database_option
def build(
    name: str | None, excluding: tuple[str, ...], whole_cases: bool, no_audit: bool, as_json: bool, db: str | None
) -> None:
    """Curate what was crawled into a new version: clean, label, de-duplicate, split, freeze, audit.

    \b
    Example:
      python cli.py build --name first
      python cli.py build --exclude vqa-rad:test
    """
    from corpus_db import build as building
    from corpus_db.build_output import render_build

    db = chosen(db, "crawled", "built")
    with writing(db) as engine:
        options: dict[str, Any] = {"excluding": excluding, "whole_cases": whole_cases, "audited": not no_audit}
        result = building.build(engine, readers(), name, **options, say=notice)
        recent.remember("built", db)
    show(result if not as_json else vars(result), as_json, render_build)


@main.command()
@click.argument("version", required=False)
@click.option("--min-words", type=click.IntRange(0), default=3, show_default=True, help="Note shorter captions.")
@click.option("--min-pixels", type=click.IntRange(0), default=64, show_default=True, help="Note smaller images.")
@json_option
@database_option
@click.pass_context
def audit(
    ctx: click.Context, version: str | None, min_words: int, min_pixels: int, as_json: bool, db: str | None
) -> None:
    """Prove a version anew from image bytes and raw records: nothing leaks, nothing is missing or altered.

    Ends with exit code 1 where a check that counts fails.

    \b
    Example:
      python cli.py audit
      python cli.py audit v1 --json
    """
    from corpus_db import audit as auditing

    limits = {"min_words": min_words, "min_pixels": min_pixels}
    with reading(db) as engine:
        found = auditing.audit(engine, version, readers=readers(), **limits, say=notice)
    show(found if not as_json else auditing.plain(found), as_json, auditing.render_audit)
    ctx.exit(1 if found.failed else 0)


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
@click.option("--version", help="As the build of this version left it  [default: the last build]")
@json_option
@database_option
def explain(key: str, version: str | None, as_json: bool, db: str | None) -> None:
    """Tell all that is known of a pair: where it came from, what was done to it, and where it went.

    PAIR is a pair's id, an upstream image id or name, or the beginning of one.

    \b
    Example:
      python cli.py explain synpic54610
    """
    from corpus_db import explain as explaining
    from corpus_db.explain_output import render_explain

    with reading(db) as engine:
        show(explaining.explain(engine, key, readers(), version), as_json, render_explain)


@main.command()
@click.argument("version")
@database_option
def use(version: str, db: str | None) -> None:
    """Let rgc and caption_fts show this version, until the next build or use.

    \b
    Example:
      python cli.py use v1
    """
    from corpus_db import version as versioning

    with writing(db) as engine:
        click.echo(f"current version: {versioning.use(engine, version).name}")


@main.command()
@click.argument("version")
@click.argument("tag", metavar="MAJOR.MINOR.PATCH")
@database_option
def tag(version: str, tag: str, db: str | None) -> None:
    """Give a version a second name that never moves, for papers to cite.

    \b
    Example:
      python cli.py tag v3 1.0.0
    """
    from corpus_db import version as versioning

    with writing(db) as engine:
        click.echo(f"{versioning.tag(engine, version, tag).name}: tagged {tag}")


@main.command()
@click.argument("a")
@click.argument("b")
@json_option
@database_option
def diff(a: str, b: str, as_json: bool, db: str | None) -> None:
    """Tell the rows that version B adds to A, has no more or has changed, each with its reason.

    \b
    Example:
      python cli.py diff v1 v2
    """
    from corpus_db import diff as comparing

    with reading(db) as engine:
        found = comparing.diff(engine, a, b)
    show(found if not as_json else comparing.plain(found), as_json, comparing.render_diff)


@main.command()
@click.argument("version", required=False)
@json_option
@database_option
@click.pass_context
def verify(ctx: click.Context, version: str | None, as_json: bool, db: str | None) -> None:
    """Hash a version's rows and image files anew, and name what is missing or altered (exit code 1).

    \b
    Example:
      python cli.py verify v1
    """
    from corpus_db import verify as verifying
    from corpus_db.db import image_root

    with reading(db) as engine:
        found = verifying.verify(engine, version, image_root(engine.url))
    show(found if not as_json else verifying.plain(found), as_json, verifying.render_verification)
    ctx.exit(0 if found.ok else 1)


@main.command()
@click.argument("key", metavar="PAIR")
@click.option("--why", required=True, help="For the record: who asked, on what ground.")
@json_option
@database_option
def purge(key: str, why: str, as_json: bool, db: str | None) -> None:
    """Take a pair down for good, in every version: its texts, its image, and what a later crawl would bring back.

    \b
    Example:
      python cli.py purge synpic54610 --why "patient's request of 2026-11-01"
    """
    from corpus_db import purge as purging

    if not why.strip():
        raise click.BadParameter("say why: it stays for the record", param_hint="--why")
    with writing(db) as engine:
        found = purging.purge(engine, key, why, readers())
    show(found if not as_json else vars(found), as_json, purging.render_purged)


@main.command()
@click.option("--dry-run", is_flag=True, help="Only tell what would go.")
@json_option
@database_option
def gc(dry_run: bool, as_json: bool, db: str | None) -> None:
    """Remove image files and rows that no version and no source refers to any more.

    \b
    Example:
      python cli.py gc --dry-run
    """
    from corpus_db import purge as purging
    from corpus_db.db import image_root

    with writing(db) as engine:
        found = purging.gc(engine, image_root(engine.url), dry_run)
    show(found if not as_json else vars(found), as_json, purging.render_collected)


@main.command()
@click.argument("version", required=False)
@click.option(
    "--format",
    "form",
    type=click.Choice(["webdataset", "parquet", "csv", "croissant", "sqlite"]),
    required=True,
    help="What to write.",
)
@click.option("--with-images", is_flag=True, help="Image bytes too; mind the sources' licences (MedPix states none).")
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path), help="The folder.")
@json_option
@database_option
def export(version: str | None, form: str, with_images: bool, output: Path, as_json: bool, db: str | None) -> None:
    """Write a version for other tools to read; the same command goes on after an interruption.

    \b
    Example:
      python cli.py export v1 --format webdataset --with-images -o exports/v1
    """
    from corpus_db import export as exporting

    with reading(db) as engine:
        found = exporting.export(engine, version, form, output, with_images=with_images, say=notice)
    show(found if not as_json else exporting.plain(found), as_json, exporting.render_export)


@main.command()
@click.argument("words", nargs=-1, required=True)
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Show so many pairs.")
@json_option
@database_option
def search(words: tuple[str, ...], limit: int, as_json: bool, db: str | None) -> None:
    """Find the pairs whose captions hold all WORDS.

    \b
    "free fluid"        words side by side, in quotes of their own
    effus*              any word that begins so
    fluid NEAR/3 liver  at most three words between, in either order

    \b
    Example:
      python cli.py search fluid NEAR/3 liver
      python cli.py search '"free fluid" effus*'
    """
    from corpus_db import search as searching

    with reading(db) as engine:
        found = searching.search(engine, " ".join(words), limit)
    show(found if not as_json else vars(found), as_json, searching.render_search)


for _command in (*getting.COMMANDS, *training.COMMANDS, *tuning.COMMANDS, *studying.COMMANDS):
    main.add_command(_command)

if __name__ == "__main__":
    main(prog_name="python cli.py")
