"""Which training pairs of a version an evaluation set holds whose test questions are in the same database."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import Connection, or_, select

from corpus_db import exclude
from corpus_db.gather import CHUNK, table
from corpus_db.models import QUESTIONS

TEST = "test"
OF_THE_CORPUS_ITSELF = "sample-truth"  # asks about the sample's own images: their split is the version's


class Row(Protocol):
    """What is asked of a pair."""

    @property
    def pair_id(self) -> str: ...
    @property
    def case_id(self) -> str: ...
    @property
    def upstream_name(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def split(self) -> str: ...


def leaks(connection: Connection, pairs: Sequence[Row]) -> dict[str, list[str]]:
    """spec (vqa-rad:test) -> what it holds of the pairs that are not test pairs, each told with how it was found.

    By name and bytes; by pixels and nearness as far as a build has compared the images.
    """
    candidates = [
        exclude.Candidate(pair.pair_id, pair.case_id, pair.upstream_name, pair.sha256)
        for pair in pairs
        if pair.split != TEST
    ]
    sets = exclude.load(connection, _specs(connection))
    alike = _alike(connection, {sha256 for held in sets for sha256 in held.sha256s})
    found: dict[str, list[str]] = defaultdict(list)
    for held in sets:
        told = exclude.excluded(candidates, [held], lambda sha256: alike.get(sha256, {}), whole_cases=False)
        if told:
            found[held.spec] = [f"{pair_id} {why}" for pair_id, why in sorted(told.items())]
    return dict(found)


def _specs(connection: Connection) -> list[str]:
    question, source = table("question"), table("source")
    names = (
        select(source.c.name)
        .join(question, question.c.source_id == source.c.id)
        .where(source.c.shape == QUESTIONS, source.c.name != OF_THE_CORPUS_ITSELF, question.c.split == TEST)
    )
    return [f"{name}:{TEST}" for name in connection.execute(names.distinct().order_by(source.c.name)).scalars()]


def _alike(connection: Connection, sha256s: Iterable[str]) -> Mapping[str, Mapping[str, str]]:
    """sha256 -> of these, those that are the same picture, and how; as builds have judged."""
    wanted = sorted(sha256s)
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for first in range(0, len(wanted), CHUNK):
        for one, other, kind in _judged(connection, wanted[first : first + CHUNK]):
            found[one][other] = found[other][one] = kind
    return found


def _judged(connection: Connection, some: Sequence[str]) -> Iterator[Any]:
    alike, image = table("alike"), table("image")
    judged = select(alike.c.a_sha256, alike.c.b_sha256, alike.c.kind).where(
        alike.c.kind.is_not(None), or_(alike.c.a_sha256.in_(some), alike.c.b_sha256.in_(some))
    )
    yield from connection.execute(judged).all()
    one, other = image.alias(), image.alias()
    same = (
        select(one.c.sha256, other.c.sha256)
        .join(other, other.c.pixel_sha256 == one.c.pixel_sha256)
        .where(one.c.sha256.in_(some), other.c.sha256 != one.c.sha256)
    )
    for a, b in connection.execute(same).all():
        yield a, b, "pixels"
