"""Published corpora and evaluation sets into the database, from files on disk: one module a corpus."""

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpus_db.errors import UserError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from corpus_db.importers.engine import Imported
    from corpus_db.records import Readers

NAMES = (
    "dicom",
    "folder",
    "iu-xray",
    "medicat",
    "medpix2",
    "mimic-cxr",
    "open-i",
    "roco",
    "sample-truth",
    "slake",
    "vqa-med-2019",
    "vqa-rad",
)

_RESERVED = ("rgc", "medpix", "sample", "local")


def run(
    engine: "Engine",
    source: str,
    path: Path,
    strict: bool = False,
    workers: int | None = None,
    name: str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> "Imported":
    """Import one corpus; again, it takes in what is new or changed. The caller holds `db.exclusive`.

    `path`: the folder that it was unpacked into, or its one file. `name`: what the database calls it, so that two
    folders of one layout are two sources. Raises UserError; what came until then is kept.
    """
    from corpus_db.importers.engine import take_in
    from corpus_db.importers.files import Files

    importer = _importer(source)
    check_name(source, name)
    if not path.exists():
        raise UserError(f"{path}: no such folder; give the one that {source} was unpacked into")
    files = Files(path)
    return take_in(
        engine,
        importer.ABOUT,
        files,
        importer.records(files),
        strict=strict,
        workers=workers,
        name=name,
        render=getattr(importer, "render", None),
        say=say,
    )


def readers() -> "Readers":
    """What reads the raw records of imported corpora, by the source's shape."""
    found = {name: _importer(name) for name in NAMES}
    return {name: importer.read for name, importer in found.items() if importer.ABOUT.pairs}


def check(source: str) -> None:
    """UserError for a source that there is no importer of."""
    if source not in NAMES:
        raise UserError(f"{source}: no importer of that name; there are {', '.join(NAMES)}")


def check_name(source: str, name: str | None) -> None:
    """UserError for a name that an imported source cannot bear."""
    if name is None or name == source:
        return
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,59}", name):
        raise UserError(
            f"--name {name[:80]!r}: give 1 to 60 of a-z, 0-9, dot, dash and underscore, a letter or digit first"
        )
    if name in NAMES or name in _RESERVED:
        raise UserError(f"--name {name}: that name is another source's; give one of your own")


def _importer(source: str) -> Any:
    check(source)
    return import_module(f"corpus_db.importers.{source.replace('-', '_')}")
