"""Measure each image's pixels once, and judge each two that might be one image once; both are kept for later builds."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from sqlalchemy import Engine, bindparam, select, update

from corpus_db import dedup, pixel_labels
from corpus_db.db import upserts
from corpus_db.gather import table
from corpus_db.progress import told
from corpus_db.workers import mapped

ALGORITHMS = {"hash": dedup.ALGORITHM, "pixels": pixel_labels.VERSION}
_MANY = 128  # images or pairs from which a line says what is under way
_PREPARED = 2000  # images that a worker keeps ready for comparison
Say = Callable[[str], None]


class Likeness(NamedTuple):
    """Two images, by sha256, that are one picture."""

    one: str
    other: str
    kind: str  # pixels, near
    distance: float


@dataclass
class Measured:
    """What is known of the pixels of all images that could be read."""

    facts: dict[str, dict[str, Any]] = field(default_factory=dict)  # by sha256
    likenesses: list[Likeness] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)  # paths whose bytes are not there or do not decode


def measure(engine: Engine, root: Path, say: Say = lambda line: None) -> Measured:
    """Measure what is new, compare what the hashes propose, and give all that is known.

    The caller holds `db.exclusive`. Each batch is committed, so that an interrupted run goes on where it was.
    """
    measured = Measured()
    _measure_new(engine, root, measured, say)
    image = table("image")
    columns = image.c.sha256, image.c.phash, image.c.pixel_sha256, image.c.path, image.c.facts
    with engine.connect() as connection:
        stored = connection.execute(select(*columns).order_by(image.c.sha256)).all()
    known = ((row.sha256, _facts(row.facts)) for row in stored)
    measured.facts = {sha256: facts for sha256, facts in known if facts is not None}
    rows = [row for row in stored if row.sha256 in measured.facts]
    same_pixels = _same_pixels((row.sha256, row.pixel_sha256) for row in rows)
    measured.likenesses = [*same_pixels, *_near(engine, root, rows, say)]
    return measured


def _facts(written: str | None) -> dict[str, Any] | None:
    """The facts as they were kept, unless another algorithm measured them."""
    facts = json.loads(written) if written else {}
    return facts if facts.get("algorithms") == ALGORITHMS else None


def _measure_new(engine: Engine, root: Path, measured: Measured, say: Say) -> None:
    image = table("image")
    with engine.connect() as connection:
        rows = connection.execute(select(image.c.sha256, image.c.path, image.c.facts).order_by(image.c.sha256)).all()
    new = [(row.sha256, str(root / row.path)) for row in rows if _facts(row.facts) is None]
    if len(new) > _MANY:
        say(f"measuring {len(new)} images")
    keep = update(image).where(image.c.sha256 == bindparam("key"))
    keep = keep.values({name: bindparam(name) for name in ("phash", "pixel_sha256", "facts")})
    for batch in told(mapped(_measure_chunk, new), len(new), "images measured", say):
        good = [row for row in batch if "facts" in row]
        measured.unreadable += [row["path"] for row in batch if "facts" not in row]
        if good:
            with engine.begin() as connection:
                connection.execute(keep, good)


def _measure_chunk(images: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [_measure_one(sha256, path) for sha256, path in images]


def _measure_one(sha256: str, path: str) -> dict[str, str]:
    try:
        with Image.open(path) as image:
            image.load()
            signature = dedup.signature(image)
            facts = {"algorithms": ALGORITHMS, **pixel_labels.pixel_facts(image)}
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return {"path": path}  # the file went or changed after it was stored: `verify` tells which
    return {
        "key": sha256,
        "phash": signature.phash,
        "pixel_sha256": signature.pixel_sha256,
        "facts": json.dumps(facts, sort_keys=True),
    }


def _same_pixels(rows: Iterable[tuple[str, str]]) -> Iterator[Likeness]:
    first: dict[str, str] = {}
    for sha256, pixels in rows:
        if (one := first.setdefault(pixels, sha256)) != sha256:
            yield Likeness(one, sha256, "pixels", 0.0)


def _near(engine: Engine, root: Path, rows: Sequence[Any], say: Say) -> list[Likeness]:
    """The near-duplicates among the first of equal pixels; verdicts are looked up, or made and kept."""
    alike = table("alike")
    with engine.connect() as connection:
        judged = {
            (row.a_sha256, row.b_sha256): row
            for row in connection.execute(select(alike).where(alike.c.algorithm == dedup.ALGORITHM))
        }
    distinct = list({row.pixel_sha256: row for row in reversed(rows)}.values())[::-1]  # the first of equal pixels
    proposed = [(distinct[one], distinct[other]) for one, other in dedup.candidates([row.phash for row in distinct])]
    pending = [
        (one.sha256, other.sha256, str(root / one.path), str(root / other.path))
        for one, other in proposed
        if (one.sha256, other.sha256) not in judged
    ]
    if len(pending) > _MANY:
        say(f"comparing {len(pending)} pairs of images that may be one")
    found = [Likeness(*key, row.kind, row.distance) for key, row in judged.items() if row.kind]
    for batch in told(mapped(_compare_chunk, pending), len(pending), "pairs compared", say):
        found += [
            Likeness(row["a_sha256"], row["b_sha256"], row["kind"], row["distance"]) for row in batch if row["kind"]
        ]
        with engine.begin() as connection:
            insert = upserts(connection)(alike)
            fresh = {name: insert.excluded[name] for name in ("algorithm", "kind", "distance")}
            key = ["a_sha256", "b_sha256"]
            connection.execute(insert.on_conflict_do_update(index_elements=key, set_=fresh), batch)
    present = {row.sha256 for row in distinct}
    return sorted(likeness for likeness in found if {likeness.one, likeness.other} <= present)


def _compare_chunk(pairs: Sequence[tuple[str, str, str, str]]) -> list[dict[str, Any]]:
    verdicts = []
    for a_sha256, b_sha256, a_path, b_path in pairs:
        match = dedup.compare(_prepared(a_path), _prepared(b_path))
        told = (match.kind, match.distance) if match else (None, None)
        row = {"a_sha256": a_sha256, "b_sha256": b_sha256, "algorithm": dedup.ALGORITHM}
        verdicts.append({**row, "kind": told[0], "distance": told[1]})
    return verdicts


@lru_cache(_PREPARED)
def _prepared(path: str) -> dedup.Prepared:
    with Image.open(path) as image:
        return dedup.prepare(image)
