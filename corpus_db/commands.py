"""The commands that need the corpus alone: clean, sql, stats and more. Each parses, calls, prints."""

import sys
from pathlib import Path

import click

from corpus_db.console import chosen, database_option, json_option, known_versions, notice, reading, show, writing


@click.command()
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="IN.jsonl")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="OUT.jsonl",
    help="Where the cleaned lines go.",
)
@json_option
def clean(source: Path, output: Path, as_json: bool) -> None:
    """Clean any captions: lines of {"id", "raw"} become lines of {"id", "clean", "drop_reason", "edits"}.

    \b
    Example:
      python cli.py clean captions.jsonl -o clean.jsonl
    """
    from corpus_db.clean import clean_file

    counts = clean_file(source, output).most_common()
    told = ", ".join(f"{name} {count}" for name, count in counts) or "no captions"
    show(dict(counts), as_json, lambda _: [told])


@click.command()
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


@click.command()
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


@click.command()
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


@click.command()
@click.argument("version", shell_complete=known_versions)
@json_option
@database_option
def use(version: str, as_json: bool, db: str | None) -> None:
    """Let rgc and caption_fts show this version, until the next build or use.

    \b
    Example:
      python cli.py use v1
    """
    from corpus_db import version as versioning

    with writing(db) as engine:
        name = versioning.use(engine, version).name
    show({"version": name}, as_json, lambda found: [f"current version: {found['version']}"])


@click.command()
@click.argument("version", shell_complete=known_versions)
@click.argument("tag", metavar="MAJOR.MINOR.PATCH")
@json_option
@database_option
def tag(version: str, tag: str, as_json: bool, db: str | None) -> None:
    """Give a version a second name that never moves, for papers to cite.

    \b
    Example:
      python cli.py tag v3 1.0.0
    """
    from corpus_db import version as versioning

    with writing(db) as engine:
        name = versioning.tag(engine, version, tag).name
    show({"version": name, "tag": tag}, as_json, lambda found: [f"{found['version']}: tagged {found['tag']}"])


@click.command()
@click.argument("a", shell_complete=known_versions)
@click.argument("b", shell_complete=known_versions)
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


@click.command()
@click.argument("version", required=False, shell_complete=known_versions)
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


@click.command()
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


@click.command()
@click.argument("version", required=False, shell_complete=known_versions)
@click.option(
    "--format",
    "form",
    type=click.Choice(["webdataset", "parquet", "csv", "croissant", "sqlite"]),
    required=True,
    help="What to write.",
)
@click.option("--with-images", is_flag=True, help="Image bytes too; mind the sources' licences (MedPix states none).")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="A new folder, or an interrupted export's.",
)
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


@click.command()
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


COMMANDS = (clean, sql, stats, versions, use, tag, diff, verify, gc, export, search)
