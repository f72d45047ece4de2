"""Images that are one picture, side by side, and captions that stand under several images."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from corpus_db.report.ask import Ask, Picture, brief

_CLUSTERS, _MEMBERS = 24, 6
_CAPTIONS = 8  # shared captions that are shown


@dataclass(frozen=True)
class Cluster:
    """Some members of a cluster of so many; each picture's tags tell how it is like the first."""

    kind: str
    size: int
    pictures: list[Picture]


@dataclass(frozen=True)
class Duplicates:
    """What a version's build found alike."""

    kinds: list[tuple[str, int, int]]  # kind, clusters, members found so
    clusters: list[Cluster]
    captions: list[tuple[str, int, list[Picture]]]  # caption, pairs, some of them


_SHOWN = """
    WITH alike AS (
        SELECT cluster, min(kind) AS kind FROM duplicate
        WHERE version_id = :v AND kind IN ('bytes', 'near', 'pixels') GROUP BY cluster
    ), ordered AS (
        SELECT cluster, kind, row_number() OVER (PARTITION BY kind ORDER BY cluster) AS place FROM alike
    ), chosen AS (
        SELECT cluster, kind FROM ordered ORDER BY place, kind LIMIT :clusters
    )
    SELECT chosen.kind AS found_by, duplicate.cluster, duplicate.pair_id, duplicate.kind, duplicate.distance,
           coalesce(version_pair.image_path, image.path) AS path, version_pair.caption, version_drop.reason
    FROM chosen JOIN duplicate ON duplicate.cluster = chosen.cluster AND duplicate.version_id = :v
    LEFT JOIN version_pair ON version_pair.pair_id = duplicate.pair_id AND version_pair.version_id = :v
    LEFT JOIN version_drop ON version_drop.pair_id = duplicate.pair_id AND version_drop.version_id = :v
    LEFT JOIN pair ON pair.id = duplicate.pair_id
    LEFT JOIN image ON image.sha256 = pair.image_sha256
    WHERE duplicate.kind <> 'caption'
    ORDER BY chosen.kind DESC, duplicate.cluster, duplicate.id
"""


def duplicates(ask: Ask) -> Duplicates:
    """Counts by kind, some clusters of images, and the captions that most images share."""
    kinds = ask.rows(
        "SELECT kind, count(DISTINCT cluster), count(*) FROM duplicate "
        "WHERE version_id = :v AND kind <> 'first' GROUP BY kind ORDER BY count(*) DESC, kind"
    )
    members = defaultdict(list)
    for row in ask.rows(_SHOWN, clusters=_CLUSTERS):
        members[row.found_by, row.cluster].append(row)
    clusters = [
        Cluster(kind, len(found), [_member(row) for row in found[:_MEMBERS]]) for (kind, _), found in members.items()
    ]
    return Duplicates([tuple(row) for row in kinds], clusters, _shared_captions(ask))


def _member(row: Any) -> Picture:
    far = f", distance {row.distance:.4f}" if row.distance else ""
    how = "the oldest" if row.kind == "first" else f"{row.kind}{far}"
    kept = f"left out: {row.reason}" if row.reason else "kept"
    return Picture(row.path, brief(row.caption), row.pair_id, (how, kept))


def _shared_captions(ask: Ask) -> list[tuple[str, int, list[Picture]]]:
    shared = ask.rows(
        "SELECT caption_group, min(caption), count(*) FROM version_pair WHERE version_id = :v GROUP BY caption_group "
        "HAVING count(*) > 1 ORDER BY count(*) DESC, caption_group LIMIT :most",
        most=_CAPTIONS,
    )
    found = []
    for group, caption, count in shared:
        rows = ask.rows(
            "SELECT pair_id, image_path, case_id FROM version_pair WHERE version_id = :v AND caption_group = :g "
            "ORDER BY sha256, pair_id LIMIT :most",
            g=group,
            most=_MEMBERS,
        )
        found.append((brief(caption), count, [Picture(row.image_path, "", row.pair_id) for row in rows]))
    return found
