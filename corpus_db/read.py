"""The door through which training reads a corpus: a version's rows, its images, an evaluation set's questions.

Plain dataclasses and arrays; the database's packages are imported only when a function is called.
"""

import hashlib
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpus_db.errors import UserError
from corpus_db.files import written
from corpus_db.page import render as render_page
from corpus_db.page import write as write_page
from corpus_db.progress import told as progress
from corpus_db.recent import data_folder, packs, recall
from corpus_db.workers import mapped

if TYPE_CHECKING:
    import numpy as np
    from sqlalchemy import Connection, Engine

    from corpus_db.version import VersionRow

__all__ = [
    "Pair",
    "Question",
    "UserError",
    "Version",
    "data_folder",
    "database",
    "image",
    "leaks",
    "mapped",
    "packs",
    "progress",
    "questions",
    "render_page",
    "version",
    "write_page",
    "written",
]
RGC = "rgc"  # the name of all that was crawled of MedPix, among sources


@dataclass(frozen=True, slots=True)
class Pair:
    """One frozen image-caption pair; `image_path` is absolute, a label that no vote decided is None."""

    pair_id: str
    image_path: str
    sha256: str
    caption: str
    modality: str | None
    plane: str | None
    region: str | None
    laterality: str | None
    split: str  # train, val, test
    case_id: str
    caption_group: str
    duplicate_cluster: str
    source: str
    source_id: str
    upstream_name: str


@dataclass(frozen=True)
class Version:
    """An immutable version of a corpus, its pairs in the order of their ids."""

    name: str
    manifest_sha256: str
    database: str  # as a user may read it, without a password
    pairs: tuple[Pair, ...]
    excluded: tuple[str, ...] = ()  # evaluation sets that it was built without


@dataclass(frozen=True)
class Question:
    """A question of an evaluation set about one image; `image_path` is absolute, None where its bytes are not here."""

    source: str
    upstream_id: str
    image_name: str
    image_sha256: str | None
    image_path: str | None
    question: str
    answer: str
    answer_type: str | None
    question_type: str | None
    split: str
    language: str
    organ: str | None
    modality: str | None


def version(key: str | None = None, db: str | None = None) -> Version:
    """A version by its name, tag or the beginning of its manifest hash; by default the current one.

    VERSION/SOURCE is what a version has of one source, and SOURCE alone what the current version has of it, where no
    version bears that name; rgc is all that was crawled of MedPix. `db`: a file or a URL; by default the database that
    was built last. Raises UserError where there is none.
    """
    from sqlalchemy import select

    from corpus_db.db import image_root, shown
    from corpus_db.gather import table

    engine = _engine(db)
    try:
        root, frozen = image_root(engine.url), table("version_pair")
        wanted = [frozen.c[name] for name in Pair.__dataclass_fields__]
        with engine.connect() as connection:
            found, sources = _part(connection, key)
            select_pairs = select(*wanted).where(frozen.c.version_id == found.id).order_by(frozen.c.pair_id)
            if sources:
                select_pairs = select_pairs.where(frozen.c.source.in_(sources))
            rows = connection.execute(select_pairs).mappings()
            pairs = tuple(_pair(root, row) for row in rows)
        if sources and not pairs:
            raise UserError(f"{key}: version {found.name} holds no pair of that source; see: python cli.py stats")
        name, digest = _told(key, found, sources) if sources else (found.name, found.manifest_sha256)
        return Version(name, digest, shown(engine.url), pairs, tuple(found.config.get("exclude", ())))
    finally:
        engine.dispose()


def _part(connection: "Connection", key: str | None) -> "tuple[VersionRow, list[str]]":
    """The version that a key names, and the sources of it; none: all."""
    from sqlalchemy import select

    from corpus_db.gather import table
    from corpus_db.models import QUESTIONS
    from corpus_db.version import resolve

    try:
        return resolve(connection, key), []
    except UserError as error:
        if key is None:
            raise
        unknown = error
    source = table("source")
    shapes = select(source.c.name, source.c.shape).where(source.c.shape != QUESTIONS)
    known = {row.name: row.shape for row in connection.execute(shapes)}
    crawled = sorted(name for name, shape in known.items() if shape == "medpix")
    sources = {name: [name] for name in known} | ({RGC: crawled} if crawled else {})
    before, slash, after = key.rpartition("/")
    if slash and after not in sources:
        raise UserError(f"{key}: no source {after} in this database; there are {', '.join(sorted(sources))}")
    if after not in sources:
        raise UserError(f"{unknown}; sources: {', '.join(sorted(sources)) or 'none'}")
    return resolve(connection, before if slash else None), sources[after]


def _told(key: str | None, found: "VersionRow", sources: Sequence[str]) -> tuple[str, str]:
    """The name and the hash of a version's part: equal for equal parts of equal versions."""
    name = key if key and "/" in key else f"{found.name}/{key}"
    return name, hashlib.sha256(f"{found.manifest_sha256} {' '.join(sources)}".encode()).hexdigest()


def leaks(version: Version, db: str | None = None) -> dict[str, list[str]]:
    """vqa-rad:test -> the pairs of a version, but for its test pairs, whose images that set holds, with how."""
    from corpus_db import held_out

    engine = _engine(db)
    try:
        with engine.connect() as connection:
            return held_out.leaks(connection, version.pairs)
    finally:
        engine.dispose()


def questions(source: str, split: str | None = None, db: str | None = None) -> list[Question]:
    """The questions of an imported evaluation set, or of one of its splits, in a fixed order."""
    from sqlalchemy import select

    from corpus_db.db import image_root
    from corpus_db.gather import table

    engine = _engine(db)
    try:
        root = image_root(engine.url)
        question, images, sources = table("question"), table("image"), table("source")
        own = [name for name in Question.__dataclass_fields__ if name not in ("source", "image_path")]
        asked = (
            select(
                sources.c.name.label("source"), images.c.path.label("image_path"), *(question.c[name] for name in own)
            )
            .join(sources, sources.c.id == question.c.source_id)
            .outerjoin(images, images.c.sha256 == question.c.image_sha256)
            .where(sources.c.name == source, *([question.c.split == split] if split else []))
            .order_by(question.c.id)
        )
        with engine.connect() as connection:
            rows = [dict(row) for row in connection.execute(asked).mappings()]
            known = sorted(connection.execute(select(sources.c.name)).scalars())
    finally:
        engine.dispose()
    if not rows:
        what = f"{source}:{split}" if split else source
        raise UserError(
            f"{what}: no such questions; sources here: {', '.join(known) or 'none'}{_missing(source, known)}"
        )
    return [Question(**{**row, "image_path": row["image_path"] and _inside(root, row["image_path"])}) for row in rows]


def _missing(source: str, known: Sequence[str]) -> str:
    """How questions that are not here are had."""
    if source in known:
        return ""
    own = ""
    if "sample-truth" in known:
        own = "; or take those of the sample: --source sample-truth"
    elif "sample" in known and source != "sample-truth":
        own = "; or the sample's own: python cli.py import sample-truth PATH, then --source sample-truth"
    return f". Import them: python cli.py import {shlex.quote(source)} PATH{own} (docs/evaluate.md)"


def database(db: str | None = None) -> str:
    """The database of that name, or the one that was built last, as a user may read it: without a password."""
    from corpus_db.db import shown

    engine = _engine(db)
    try:
        return shown(engine.url)
    finally:
        engine.dispose()


def image(path: "str | PathLike[str]") -> "np.ndarray":
    """An image's pixels as a viewer shows them, uint8: (H, W) where all are grey, else (H, W, 3).

    Pixels of more than 8 bits are spread from their 0.5 to their 99.5 percentile. The formats and the largest size are
    those of the image store. Raises UserError naming the file.
    """
    import numpy as np
    from PIL import Image

    from corpus_db.phash import canonical
    from corpus_db.store import EXTENSIONS, MAX_PIXELS

    try:
        with Image.open(path, formats=tuple(EXTENSIONS)) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise ValueError(f"{opened.width} x {opened.height} pixels, more than {MAX_PIXELS:,}")
            opened.load()
            pixels = np.asarray(canonical(opened))
    except Exception as error:  # whatever a decoder makes of a stranger's bytes
        raise UserError(f"{path}: cannot read this image ({str(error) or type(error).__name__})") from error
    return pixels if pixels.dtype == np.uint8 else _windowed(pixels)


def _windowed(pixels: "np.ndarray") -> "np.ndarray":
    import numpy as np

    values = np.nan_to_num(pixels.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = np.percentile(values, (0.5, 99.5))
    if high <= low:
        low, high = float(values.min()), float(values.max())
    scaled = (values - low) / max(high - low, 1e-12) * 255
    return scaled.clip(0, 255).round().astype(np.uint8)


def _engine(db: str | None) -> "Engine":
    from corpus_db.db import open_readonly

    found = db or recall("built")
    if found is None:
        raise UserError("no corpus yet; make one with: make rgc")
    return open_readonly(found)


_REPEATED = ("modality", "plane", "region", "laterality", "split", "source")  # one string for all pairs is enough


def _pair(root: Path, row: Mapping[Any, Any]) -> Pair:
    shared = {name: sys.intern(row[name]) for name in _REPEATED if row[name] is not None}
    return Pair(**{**row, **shared, "image_path": _inside(root, row["image_path"])})


def _inside(root: Path, path: str) -> str:
    from corpus_db.store import leads_out

    if leads_out(path):
        raise UserError(f"{path!r}: an image path that leaves its folder; run: python cli.py verify")
    return str(root / path)
