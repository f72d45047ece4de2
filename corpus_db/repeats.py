"""Find the pairs of one build that show one image or say one thing, and drop a pair that does both again."""

import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from corpus_db import dedup
from corpus_db.curate import CuratedPair
from corpus_db.measure import Likeness

DUPLICATE = "duplicate"
COPIES = frozenset(("medpix2", "open-i"))  # of MedPix's images, re-encoded
SAMPLE = "sample"  # its images bear numbers of MedPix's form that are none of MedPix's
_MEDPIX_NAME = re.compile(r"synpic\d+")
Row = dict[str, Any]


@dataclass(frozen=True)
class Link:
    """How one image is like another."""

    kind: str  # bytes, pixels, near
    distance: float | None


class Images:
    """Which images of a build are one picture: those of equal pixels together, and groups of such that are near."""

    def __init__(self, likenesses: Iterable[Likeness]):
        self.first: dict[str, str] = {}  # sha256 -> the first of the same pixels
        self.same: dict[str, list[str]] = defaultdict(list)  # the first -> all of the same pixels
        self.near: dict[str, dict[str, float]] = defaultdict(dict)  # the first -> the first of a near one -> distance
        for one, other, kind, distance in likenesses:
            if kind == "pixels":
                self.first[one] = self.first[other] = one
                self.same[one] = [*(self.same[one] or [one]), other]
            else:
                self.near[one][other] = self.near[other][one] = distance

    def like(self, sha256: str) -> Iterator[tuple[str, Link]]:
        """The images that are this one: itself, those of the same pixels, then the nearest."""
        first = self.first.get(sha256, sha256)
        yield sha256, Link("bytes", None)
        for other in self._all_of(first):
            if other != sha256:
                yield other, Link("pixels", 0.0)
        for near, distance in sorted(self.near.get(first, {}).items(), key=lambda item: (item[1], item[0])):
            for other in self._all_of(near):
                yield other, Link("near", distance)

    def kinds(self, sha256: str) -> dict[str, str]:
        """The other images that are this one, and how."""
        return {other: link.kind for other, link in self.like(sha256) if other != sha256}

    def matches(self, sha256: str) -> tuple[str, ...]:
        """A name for each thing that this image shares with another one, which the other gives too."""
        first = self.first.get(sha256, sha256)
        return (first, *("+".join(sorted((first, near))) for near in sorted(self.near.get(first, {}))))

    def clusters(self, sha256s: Sequence[str]) -> list[int]:
        """For each image, in the order given, the index of its cluster's first."""
        firsts = [self.first.get(sha256, sha256) for sha256 in sha256s]
        index = {first: at for at, first in reversed(list(enumerate(firsts)))}
        edges = [(at, index[first]) for at, first in enumerate(firsts)]
        edges += [(index[first], index[near]) for first in index for near in self.near.get(first, {}) if near in index]
        return dedup.clusters(len(sha256s), edges)

    def _all_of(self, first: str) -> Sequence[str]:
        return self.same.get(first) or (first,)


def by_age(pairs: Iterable[CuratedPair], since: Mapping[str, int]) -> list[CuratedPair]:
    """Pairs by the version that had them first, then newcomers, those of copies of other sources last; each by key.

    `since`: pair id -> the oldest ancestor's number. So the newcomers of one build stand in the next where they stood.
    """
    return sorted(
        pairs, key=lambda pair: (since.get(pair.row["id"], sys.maxsize), pair.source in COPIES, pair.row["id"])
    )


def drop_repeats(pairs: Sequence[CuratedPair], images: Images) -> None:
    """Drop each kept pair, oldest first, whose image and caption an older kept pair has already."""
    said: dict[str, dict[str, CuratedPair]] = defaultdict(dict)
    for pair in pairs:
        shown = said[pair.caption_group]
        older = next((shown[sha256] for sha256, _ in images.like(pair.image.sha256) if sha256 in shown), None)
        if older is None:
            shown[pair.image.sha256] = pair
        else:
            pair.drop(DUPLICATE, older.row["id"])


def drop_same_names(pairs: Sequence[CuratedPair]) -> None:
    """Drop each kept pair whose image an older kept pair of another source has under MedPix's own number.

    Corpora made from MedPix keep its numbers, and re-encode, crop or shrink its images. The pair that stays remembers
    the other's case, so that what is left of that case shares its split.
    """
    named: dict[str, CuratedPair] = {}
    for pair in pairs:
        name = pair.row["upstream_name"].lower()
        if not _MEDPIX_NAME.fullmatch(name) or pair.source == SAMPLE:
            continue
        older = named.setdefault(name, pair)
        if older.source != pair.source:
            pair.drop(DUPLICATE, older.row["id"])
            older.other_cases.append(pair.case.row["id"])


def cluster_names(pairs: Sequence[CuratedPair], images: Images) -> dict[str, str]:
    """pair id -> its image cluster, named for the bytes of the cluster's oldest pair."""
    sha256s = [pair.image.sha256 for pair in pairs]
    return {pair.row["id"]: sha256s[first][:16] for pair, first in zip(pairs, images.clusters(sha256s), strict=True)}


def duplicate_rows(pairs: Sequence[CuratedPair], images: Images, clusters: Mapping[str, str]) -> Iterable[Row]:
    """The members of every cluster of more than one, oldest first; of captions among the kept pairs only."""
    shown, said = defaultdict(list), defaultdict(list)
    for pair in pairs:
        shown[clusters[pair.row["id"]]].append(pair)
        if pair.kept:
            said[pair.caption_group].append(pair)
    for cluster, members in sorted(shown.items()):
        if len(members) > 1:
            yield from _image_rows(images, cluster, members)
    for group, members in sorted(said.items()):
        if len(members) > 1:
            for pair in members:
                like = None if pair is members[0] else members[0]
                yield _row(pair, group, Link("caption" if like else "first", None), like)


def _image_rows(images: Images, cluster: str, members: Sequence[CuratedPair]) -> Iterable[Row]:
    """Each member with the nearest older one that it is like; one tied in by a younger only is first as well."""
    older: dict[str, CuratedPair] = {}
    for pair in members:
        near = ((link, older[sha256]) for sha256, link in images.like(pair.image.sha256) if sha256 in older)
        link, like = next(near, (Link("first", None), None))
        older.setdefault(pair.image.sha256, pair)
        yield _row(pair, cluster, link, like)


def _row(pair: CuratedPair, cluster: str, link: Link, like: CuratedPair | None) -> Row:
    row = {"pair_id": pair.row["id"], "cluster": cluster, "kind": link.kind, "distance": link.distance}
    return {**row, "like_pair_id": like.row["id"] if like else None}
