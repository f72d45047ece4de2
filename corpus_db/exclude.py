"""Find the pairs that an evaluation set holds: by upstream name, bytes, pixels or near-duplicates, with their cases."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from corpus_db.errors import UserError
from corpus_db.gather import table
from corpus_db.models import QUESTIONS

_ENDINGS = {"jpg", "jpeg", "png", "gif", "bmp", "tif", "tiff", "webp", "jp2", "dcm"}


@dataclass
class EvaluationSet:
    """The images of one excluded set, as `vqa-rad:test` names it."""

    spec: str
    names: set[str] = field(default_factory=set)
    sha256s: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Candidate:
    """An image that a case lists, whether it became a pair or not; sha256 is empty where it has no bytes here."""

    pair_id: str
    case_id: str
    upstream_name: str
    sha256: str


def load(connection: Connection, specs: Iterable[str]) -> list[EvaluationSet]:
    """The evaluation sets of `source:split` or `source` (all its splits); raises UserError for what is not here."""
    return [_load(connection, spec) for spec in sorted(set(specs))]


def _load(connection: Connection, spec: str) -> EvaluationSet:
    name, _, split = spec.partition(":")
    question, source = table("question"), table("source")
    asked = (
        select(question.c.image_name, question.c.image_sha256, question.c.split)
        .join(source, source.c.id == question.c.source_id)
        .where(source.c.name == name)
        .distinct()
    )
    rows = connection.execute(asked).all()
    if not rows:
        sets = connection.execute(select(source.c.name).where(source.c.shape == QUESTIONS).order_by(source.c.name))
        here = ", ".join(sets.scalars()) or "none"
        raise UserError(
            f"--exclude {spec}: no evaluation set {name} is in this database (there: {here}); "
            "import it first: python cli.py import SOURCE PATH"
        )
    if split and split not in {row.split for row in rows}:
        known = ", ".join(sorted({row.split for row in rows}))
        raise UserError(f"--exclude {spec}: {name} has no split of that name; it has {known}")
    found = EvaluationSet(spec)
    for row in rows:
        if split in ("", row.split):
            found.names.add(bare_name(row.image_name))
            if row.image_sha256:
                found.sha256s.add(row.image_sha256)
    return found


def excluded(
    candidates: Sequence[Candidate],
    sets: Sequence[EvaluationSet],
    alike: Callable[[str], Mapping[str, str]],
    whole_cases: bool = True,
) -> dict[str, str]:
    """pair_id -> what it is excluded for; `alike`: of a sha256, the others that are the same picture, and how.

    A neighbouring slice of a test image stands in the same case under another name, so by default the case goes too.
    """
    reasons = {}
    by_case: dict[str, str] = {}
    for candidate in candidates:
        if told := next(filter(None, (_held(candidate, each, alike) for each in sets)), None):
            reasons[candidate.pair_id] = told
            by_case.setdefault(candidate.case_id, told)
    if whole_cases:
        for candidate in candidates:
            if candidate.pair_id not in reasons and candidate.case_id in by_case:
                reasons[candidate.pair_id] = f"{by_case[candidate.case_id]}, in the same case"
    return reasons


def bare_name(name: str) -> str:
    """A name as two sources may share it: without an image file's ending, in lower case."""
    stem, _, ending = name.casefold().rpartition(".")
    return stem if stem and ending in _ENDINGS else name.casefold()


def _held(candidate: Candidate, held: EvaluationSet, alike: Callable[[str], Mapping[str, str]]) -> str | None:
    if candidate.sha256 in held.sha256s:
        return f"{held.spec} (bytes)"
    if bare_name(candidate.upstream_name) in held.names:
        return f"{held.spec} {candidate.upstream_name} (name)"
    kinds = {kind for sha256, kind in alike(candidate.sha256).items() if sha256 in held.sha256s}
    return f"{held.spec} ({min(kinds, key=('pixels', 'near').index)})" if kinds else None
