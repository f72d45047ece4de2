"""The audit's checks on leaks: what two splits share, and what an excluded evaluation set shares with a version."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from sqlalchemy import Connection, select

from corpus_db.audit_images import Alike, Images
from corpus_db.audit_raw import Names, Raw, image_key
from corpus_db.gather import table

Row = Mapping[str, Any]
GENERIC_WORDS = 5  # a caption of fewer words tells no two cases apart
GENERIC_CASES = 5  # nor does one that stands in more cases
_EXTENSION = re.compile(r"\.(?:jpe?g|png|gif|bmp|tiff?|webp|jp2|dcm)$", re.IGNORECASE)


@dataclass
class Evaluation:
    """The images of the evaluation sets that a version excludes."""

    names: set[str] = field(default_factory=set)
    sha256s: set[str] = field(default_factory=set)
    without_bytes: set[str] = field(default_factory=set)  # names


def said_alike(caption: str) -> str:
    """What is equal for captions that differ in case and spaces alone."""
    return " ".join(caption.casefold().split())


def split_twice(rows: Sequence[Row], key: Callable[[Row], str | None]) -> Iterator[str]:
    """What of `key` stands in more than one split, with a pair of each."""
    held: dict[str, dict[str, str]] = defaultdict(dict)
    for row in rows:
        if (value := key(row)) is not None:
            held[value].setdefault(row["split"], row["pair_id"])
    for value, pairs in sorted(held.items()):
        if len(pairs) > 1:
            yield f"{value}: " + ", ".join(f"{pair} ({split})" for split, pair in sorted(pairs.items()))


def telling_captions(connection: Connection, version_id: int, rows: Sequence[Row]) -> set[str]:
    """The captions that link two cases: long enough, and not in too many cases.

    Pairs that were dropped because they would have joined two splits count in the number of cases, as far as the last
    build still knows their captions: what was generic with them is not telling without.
    """
    pair, drop = table("pair"), table("version_drop")
    dropped = (
        select(pair.c.caption, pair.c.study_case_id)
        .join(drop, drop.c.pair_id == pair.c.id)
        .where(drop.c.version_id == version_id, drop.c.reason == "split_conflict", pair.c.caption.is_not(None))
    )
    cases: dict[str, set[str]] = defaultdict(set)
    for caption, case in [*((row["caption"], row["case_id"]) for row in rows), *connection.execute(dropped)]:
        cases[said_alike(caption)].add(case)
    return {text for text, held in cases.items() if len(held) <= GENERIC_CASES and len(text.split()) >= GENERIC_WORDS}


def across_splits(rows: Sequence[Row], images: Images) -> list[tuple[str, Alike]]:
    """Every two images of different splits that show one picture, or may, each told with a pair of both."""
    shown: dict[str, dict[str, str]] = defaultdict(dict)
    for row in rows:
        shown[row["split"]].setdefault(row["sha256"], row["pair_id"])
    found = []
    for one, other in combinations(sorted(shown), 2):
        for alike in images.alike(list(shown[one]), list(shown[other])):
            pairs = f"{shown[one][alike.one]} ({one}), {shown[other][alike.other]} ({other})"
            found.append((f"{pairs}: likeness {alike.likeness:.3f}", alike))
    return found


def evaluation_images(connection: Connection, specs: Iterable[str]) -> Evaluation:
    """The images of `source:split`, or of all splits of `source`."""
    found = Evaluation()
    question, source = table("question"), table("source")
    for spec in specs:
        name, _, split = spec.partition(":")
        statement = (
            select(question.c.image_name, question.c.image_sha256)
            .join(source, source.c.id == question.c.source_id)
            .where(source.c.name == name, *([question.c.split == split] if split else []))
        )
        for image_name, sha256 in connection.execute(statement.distinct()):
            found.names.add(_stem(image_name))
            if sha256:
                found.sha256s.add(sha256)
            else:
                found.without_bytes.add(image_name)
    return found


def _stem(name: str) -> str:
    """A name without an image file's extension, in lower case."""
    return _EXTENSION.sub("", name).casefold()


@dataclass
class Candidate:
    """An image that an excluded evaluation set must not hold: of a pair, or of the same case as one."""

    told: str
    case_id: str
    names: AbstractSet[str]
    sha256s: AbstractSet[str]
    of_version: bool


def case_images(rows: Sequence[Row], raw: Raw, names: Names, whole_cases: bool) -> list[Candidate]:
    """The images of a version's pairs and, with `whole_cases`, all others that raw records list in their cases."""
    found = []
    for row in rows:
        said = raw.images.get(image_key(row))
        known_as = {row["upstream_name"], *([said.name] if said else [])}
        case = said.case_id if said else row["case_id"]
        found.append(Candidate(row["pair_id"], case, set(map(_stem, known_as)), {row["sha256"]}, True))
    if whole_cases:
        own = set(map(image_key, rows))
        for case in sorted({candidate.case_id for candidate in found}):
            for key in raw.by_case.get(case, ()):
                if key not in own:
                    said = raw.images[key]
                    given = names.of(key.partition(":")[0], said)
                    found.append(Candidate(key, case, {_stem(said.name)}, given, False))
    return found


def excluded(candidates: Sequence[Candidate], held: Evaluation, images: Images) -> dict[str, list[str]]:
    """Kind (name, bytes, pixels, near, suspect, case) -> pairs of the version that the evaluation sets hold so.

    Case: pairs that share one with a listed image which the sets hold, but do not hold themselves.
    """
    looked_at = sorted({sha256 for each in candidates for sha256 in each.sha256s if sha256 in images.seen})
    alike: dict[str, dict[str, str]] = defaultdict(dict)
    for found in images.alike(looked_at, sorted(held.sha256s & images.seen.keys())):
        alike[found.one].setdefault(found.kind, found.other)
    told: dict[str, list[str]] = defaultdict(list)
    cases: dict[str, str] = {}
    own = set()
    for each in candidates:
        kinds = {kind: other[:16] for sha256 in sorted(each.sha256s) for kind, other in alike[sha256].items()}
        if named := each.names & held.names:
            kinds["name"] = min(named)
        if same := each.sha256s & held.sha256s:
            kinds["bytes"] = min(same)[:16]
        if kinds.keys() - {"suspect"}:
            cases.setdefault(each.case_id, each.told)
        if each.of_version:
            for kind, what in kinds.items():
                told[kind].append(f"{each.told}: {what}")
            if kinds.keys() - {"suspect"}:
                own.add(each.told)
    for each in candidates:
        if each.of_version and each.told not in own and each.case_id in cases:
            told["case"].append(f"{each.told}: {each.case_id} has {cases[each.case_id]}")
    return told


def repeated_pairs(rows: Sequence[Row]) -> list[str]:
    """Pairs with the bytes and the caption of another."""
    seen: dict[tuple[str, str], str] = {}
    repeats = []
    for row in sorted(rows, key=lambda row: row["pair_id"]):
        first = seen.setdefault((row["sha256"], said_alike(row["caption"])), row["pair_id"])
        if first != row["pair_id"]:
            repeats.append(f"{row['pair_id']} repeats {first}")
    return repeats


def most_shared(rows: Sequence[Row]) -> list[str]:
    """Captions that stand with more than one image, the commonest first."""
    shown: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        shown[said_alike(row["caption"])].add(row["sha256"])
    counts = Counter({text: len(images) for text, images in shown.items() if len(images) > 1})
    return [f"{count} images: {text}" for text, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
