"""Decide splits so that nothing leaks: pairs that share a case, patient, image or telling caption go the same way.

A split, once given, never moves. A newcomer that would join a train group to a test group is left out instead.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

PERCENT = {"train": 80, "val": 10, "test": 10}
GENERIC_WORDS = 5  # a caption of fewer words is no link: two patients may well share "Axial CT."
GENERIC_CASES = 5  # nor is one that stands in more cases than this
_KEEP_FIRST = ("test", "val", "train")  # where two old pairs turn out to be one image, the test set stays whole


@dataclass(frozen=True)
class Member:
    """One pair, with all that may tie it to others."""

    pair_id: str
    case_id: str
    patient_key: str | None
    sha256: str
    caption: str
    caption_group: str
    alike: tuple[str, ...] = ()  # ids of matches, each shared by the two images of one match
    own: str | None = None  # the split that its source gives it, where that is kept
    other_cases: tuple[str, ...] = ()  # of other sources, which list the same image


@dataclass(frozen=True)
class Place:
    """Where a pair goes, or why it cannot: `conflict` tells what it would have joined."""

    split: str
    group: str  # the case of the group's oldest member, whose hash decided
    conflict: str | None = None


@dataclass(frozen=True)
class Known:
    """Where earlier versions put pairs, and with them cases, patients and image bytes: node -> (split, group)."""

    pairs: Mapping[str, tuple[str, str]]
    nodes: Mapping[str, tuple[str, str]]


NOTHING_KNOWN = Known({}, {})


def split_of(key: str) -> str:
    """train, val or test, from a hash of the key alone."""
    point = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % 100
    for name, share in PERCENT.items():
        if point < share:
            return name
        point -= share
    raise AssertionError("PERCENT does not add up to 100")


def generic_captions(members: Iterable[Member]) -> set[str]:
    """Caption groups that say too little, or too often, to tie two cases together."""
    cases, generic = defaultdict(set), set()
    for member in members:
        cases[member.caption_group].add(member.case_id)
        if len(member.caption.split()) < GENERIC_WORDS:
            generic.add(member.caption_group)
    return generic | {group for group, found in cases.items() if len(found) > GENERIC_CASES}


def known_from(rows: Iterable[Mapping[str, str | None]]) -> Known:
    """What earlier versions settled, from their version_pair rows, newest version first: the newest word counts."""
    pairs: dict[str, tuple[str, str]] = {}
    nodes: dict[str, tuple[str, str]] = {}
    for row in rows:
        place = (str(row["split"]), str(row["split_group"] or row["case_id"]))
        pairs.setdefault(str(row["pair_id"]), place)
        for node in _lasting_nodes(str(row["case_id"]), row["patient_key"], str(row["sha256"])):
            nodes.setdefault(node, place)
    return Known(pairs, nodes)


def assign(members: Sequence[Member], known: Known = NOTHING_KNOWN) -> dict[str, Place]:
    """The place of each pair: old pairs first, where they were, then newcomers by key; a conflict is left out.

    Among newcomers those come first whose source has a split of its own.
    """
    generic = generic_captions(members)
    groups = _Groups(known)
    conflicts: dict[str, Place] = {}
    placed = []
    for member in sorted(members, key=lambda member: _order(member, known)):
        nodes = [f"pair:{member.pair_id}", *_lasting_nodes(member.case_id, member.patient_key, member.sha256)]
        nodes += [f"alike:{match}" for match in member.alike] + [f"case:{case}" for case in member.other_cases]
        if member.caption_group not in generic:
            nodes.append(f"caption:{member.caption_group}")
        splits = groups.splits(nodes)
        if member.own and member.pair_id not in known.pairs:
            splits.setdefault(member.own, "its source's own")
        if len(splits) > 1:
            told = ", ".join(f"{split} ({group})" for split, group in sorted(splits.items()))
            conflicts[member.pair_id] = Place("", "", f"would join {told}")
        else:
            groups.join(nodes, member.case_id, next(iter(splits), None))
            placed.append(member)
    return conflicts | {member.pair_id: groups.place(f"pair:{member.pair_id}") for member in placed}


def deviation(places: Iterable[tuple[str, str]]) -> dict[str, dict[str, float]]:
    """How far each modality's shares are from PERCENT: (modality, split) pairs -> modality -> split -> points.

    Groups are not cut to make the shares fit, so they never do to the point.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for modality, split in places:
        counts[modality][split] += 1
    return {
        modality: {name: round(100 * found[name] / found.total() - share, 1) for name, share in PERCENT.items()}
        for modality, found in sorted(counts.items())
    }


def _lasting_nodes(case_id: str, patient_key: str | None, sha256: str) -> list[str]:
    """What ties pairs over all versions, also where no pair of it is left."""
    return [f"case:{case_id}", f"bytes:{sha256}", *([f"patient:{patient_key}"] if patient_key else [])]


def _order(member: Member, known: Known) -> tuple[int, str]:
    place = known.pairs.get(member.pair_id)
    newcomer = len(_KEEP_FIRST) + (member.own is None)
    return (_KEEP_FIRST.index(place[0]) if place else newcomer), member.pair_id


class _Groups:
    """Union-find over nodes; a group knows the split it has had, if any, and its oldest member's case."""

    def __init__(self, known: Known):
        self.known = known
        self.parent: dict[str, str] = {}
        self.split: dict[str, str] = {}  # of roots whose split is settled
        self.name: dict[str, str] = {}  # of roots

    def _root(self, node: str) -> str:
        if node not in self.parent:
            self.parent[node] = node
            kind, _, key = node.partition(":")
            place = self.known.pairs.get(key) if kind == "pair" else self.known.nodes.get(node)
            if place:
                self.split[node], self.name[node] = place
        while self.parent[node] != node:
            self.parent[node] = self.parent[self.parent[node]]
            node = self.parent[node]
        return node

    def splits(self, nodes: Sequence[str]) -> dict[str, str]:
        """The settled splits among these nodes' groups, each with one group that has it."""
        roots = map(self._root, nodes)
        return {self.split[root]: self.name[root] for root in roots if root in self.split}

    def join(self, nodes: Sequence[str], case_id: str, split: str | None) -> None:
        """Make one group of these nodes' groups; `split`: the one that it has or now gets."""
        roots = sorted(set(map(self._root, nodes)))
        settled = [self.name[root] for root in roots if root in self.split]
        names = settled or [case_id, *(self.name[root] for root in roots if root in self.name)]
        first = roots[0]
        for root in roots[1:]:
            self.parent[root] = first
        self.name[first] = min(names)
        if split:
            self.split[first] = split

    def place(self, node: str) -> Place:
        root = self._root(node)
        name = self.name[root]
        return Place(self.split.get(root) or split_of(name), name)
