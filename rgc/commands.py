"""The commands that get a corpus: crawl, import, sample. Each parses, calls, prints."""

import os
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from corpus_db.console import Limit, database_option_of, filled_database_option, filling, json_option, notice, show
from corpus_db.errors import UserError


@click.command()
@click.option(
    "--site", default="auto", show_default=True, metavar="auto|medpix|sample|open-i|URL", help="Where to crawl."
)
@click.option(
    "--limit", type=Limit(), metavar="N|all", help="How many cases  [default: 500 of the live site, all of others]"
)
@click.option("--retry-failed", is_flag=True, help="Ask again only for what failed for a passing reason.")
@json_option
@database_option_of("data/SITE.db")
@click.pass_context
def crawl(ctx: click.Context, site: str, limit: Any, retry_failed: bool, as_json: bool, db: str | None) -> None:
    """Fetch a site's cases, topics and images into a database; the same command goes on after an interruption.

    \b
    auto     the live MedPix where it answers, else the embedded sample site
    medpix   the live MedPix
    sample   the embedded sample site: synthetic images, MedPix's kinds of noise; sample:FOLDER of another recipe
    open-i   Open-i's copy of MedPix, page by page, pictures of at most 512 pixels
    URL      any server of MedPix's shape, or open-i+URL of Open-i's

    \b
    Example:
      python cli.py crawl --site sample
      python cli.py crawl --site http://127.0.0.1:8000 --limit 50 --db data/trial.db
    """
    from rgc import crawl as crawling

    outcome = crawling.run(site, db, limit, retry_failed, notice if as_json else click.echo)
    if as_json:
        show({"database": outcome.database, **outcome.summary}, True, str)
    ctx.exit(outcome.exit_code)


@click.command("import")
@click.argument("source", metavar="SOURCE")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--strict", is_flag=True, help="End at the first row or file that is missing or broken.")
@click.option("--workers", type=click.IntRange(1), help="Processes that read images  [default: one a core]")
@click.option(
    "--fetch", is_flag=True, help="With roco: then fetch missing images from PubMed Central, a request a second."
)
@click.option("--mirror", metavar="URL", help="A server with PubMed Central's folders, for --fetch.")
@click.option("--name", metavar="NAME", help="What the database calls it, for several of one layout  [default: SOURCE]")
@json_option
@filled_database_option
def import_(
    source: str,
    path: Path,
    strict: bool,
    workers: int | None,
    fetch: bool,
    mirror: str | None,
    name: str | None,
    as_json: bool,
    db: str | None,
) -> None:
    """Take in a published corpus or evaluation set from the folder that it was unpacked into, or its one file.

    Again, it takes in what is new or changed; what is missing or broken is told and left out. docs/import.md tells of
    each SOURCE:

    \b
      dicom folder iu-xray medicat medpix2 mimic-cxr open-i roco
      sample-truth slake vqa-med-2019 vqa-rad

    \b
    Example:
      python cli.py import vqa-rad ~/VQA_RAD
      python cli.py import medpix2 ~/MedPix-2-0 --db data/medpix2.db
    """
    from corpus_db import importers
    from corpus_db.importers.engine import render_imported
    from rgc import packages

    importers.check(source)
    if (fetch or mirror) and source != "roco":
        raise click.UsageError(f"--fetch: {source} names no packages to fetch its images from; roco does")
    if mirror and not fetch:
        raise click.UsageError("--mirror goes with --fetch")
    with filling(db, source) as engine:
        imported = importers.run(engine, source, path, strict, workers, name, notice)
        fetched = packages.fetch(engine, name or source, mirror, notice) if fetch else None
    told = vars(imported) | ({"fetched": vars(fetched)} if fetched else {})
    show(imported if not as_json else told, as_json, render_imported)
    if fetched and not as_json:
        show(fetched, False, packages.render_fetched)


def _words(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(word.strip().lower() for word in value.split(",") if word.strip())


@click.command()
@click.option("--seed", type=int, help="What the images and captions follow from  [default: 1]")
@click.option("--cases", type=int, help="How many cases  [default: 1200]")
@click.option("--noise", type=click.Choice(["none", "medpix", "heavy"]), help="The captions' noise  [default: medpix]")
@click.option("--noise-seed", type=int, help="What the noise follows from  [default: the seed]")
@click.option(
    "--wordings",
    type=click.Choice(["development", "measure"]),
    help="The captions' sentence patterns  [default: development]",
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
    try:
        folder = generate(recipe, output, os.cpu_count() or 1, notice)
    except ValueError as error:  # the folder holds something else
        raise UserError(str(error)) from error
    click.echo(
        f"{folder}: {recipe.cases} cases; serve them with: {sys.executable} -m rgc.phantom.serve {shlex.quote(output)}"
    )


COMMANDS = (crawl, import_, sample)
