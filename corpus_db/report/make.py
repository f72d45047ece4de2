"""Make the report of a version, or of two: gather its sections, make its pictures, write the page."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from corpus_db import db, page, version
from corpus_db.report.ask import Ask, Picture
from corpus_db.report.change import Change, change
from corpus_db.report.cleaning import cleaning
from corpus_db.report.conflicts import conflicts
from corpus_db.report.drift import drift
from corpus_db.report.drops import drops
from corpus_db.report.duplicates import duplicates
from corpus_db.report.holes import THIN, holes
from corpus_db.report.overview import overview
from corpus_db.report.sheets import sheets
from corpus_db.report.splits import splits
from corpus_db.report.thumbs import thumbnails

Say = Callable[[str], None]


@dataclass(frozen=True)
class Made:
    """What was written."""

    path: str
    bytes: int
    seconds: float
    version: str
    other: str | None  # the second of two that were compared
    pairs: int  # of the version; of the second where two were compared
    pictures: int
    missing_pictures: int  # images that could not be shown


def report(
    engine: Engine,
    path: Path,
    key: str | None = None,
    other: str | None = None,
    *,
    public: bool = False,
    with_images: bool = False,
    say: Say = lambda line: None,
) -> Made:
    """Write the report of a version (of None: the current one), or of how `other` differs from it.

    `public` leaves out what must not be published: texts as they came, and images but `with_images`. Raises UserError
    where there is no such version, or the page cannot be written.
    """
    began = time.perf_counter()
    told: tuple[str, str | None, int]
    options = {"raw": not public, "images": with_images or not public}
    if other is None:
        values, pictures = _version(engine, key, options["raw"])
        template, told = "corpus.html", (values["version"].name, None, values["pairs"])
    else:
        found = change(engine, key or "", other)
        values, pictures = {"change": found}, list(_of_change(found))
        template, told = "corpus_change.html", (found.a.name, found.b.name, found.pairs[1])
    paths = {picture.path for picture in pictures if picture.path} if options["images"] else set()
    if paths:
        say(f"making {len(paths)} small pictures")
    thumbs = thumbnails(db.image_root(engine.url), paths)
    database = Path(engine.url.database or "").name  # where it lies is nobody else's business
    text = page.render(template, "corpus_db", **values, **options, thumbs=thumbs, database=database)
    size = page.write(path, text)
    missing = sum(not uri for uri in thumbs.values())
    name, second, pairs = told
    seconds = round(time.perf_counter() - began, 2)
    return Made(str(path), size, seconds, name, second, pairs, len(thumbs), missing)


def _version(engine: Engine, key: str | None, raw: bool) -> tuple[dict[str, Any], list[Picture]]:
    """The values of corpus.html, and all pictures that it shows."""
    with engine.connect() as connection:
        ask = Ask(connection, version.resolve(connection, key))
        values = {
            "version": ask.version,
            "pairs": ask.one("SELECT count(*) FROM version_pair WHERE version_id = :v")[0],
            "overview": overview(ask),
            "sheets": sheets(ask),
            "cleaning": cleaning(ask, raw),
            "drops": drops(ask, raw),
            "conflicts": conflicts(ask),
            "duplicates": duplicates(ask),
            "splits": splits(ask, engine),
            "drift": drift(ask, raw),
            "holes": holes(ask),
            "thin": THIN,
        }
    return values, list(_of_version(values))


def _of_version(values: dict[str, Any]) -> Iterable[Picture]:
    for sheet in values["sheets"]:
        yield from sheet.pictures
    for drop in values["drops"]:
        yield from drop.examples
    for field in values["conflicts"]:
        yield from (dispute.picture for dispute in field.examples)
    for cluster in values["duplicates"].clusters:
        yield from cluster.pictures
    for _, _, pictures in values["duplicates"].captions:
        yield from pictures


def _of_change(found: Change) -> Iterable[Picture]:
    for moved in (*found.added, *found.removed):
        yield from moved.pictures


def render_made(made: Made) -> list[str]:
    """One line for people, with the place of the page last."""
    what = f"{made.version} -> {made.other}" if made.other else made.version
    lost = f", {made.missing_pictures} of them not readable" if made.missing_pictures else ""
    return [
        f"report of {what}: {made.pairs:,} pairs, {made.pictures} pictures{lost}; "
        f"{made.bytes / 1e6:.1f} MB in {made.seconds:.1f} s: {made.path}"
    ]
