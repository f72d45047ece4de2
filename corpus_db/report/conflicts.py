"""Labels that two votes disagree on: how often, which values, and some pairs to look at."""

from collections import defaultdict
from dataclasses import dataclass

from corpus_db.report.ask import Ask, Picture, brief, cut

_EXAMPLES = 6  # of a field
_KINDS = 8  # of disagreement that a field lists
_WORDS = 80  # characters of evidence


@dataclass(frozen=True)
class Dispute:
    """One disagreement on one pair."""

    picture: Picture
    given: str  # what the pair was given: value, who voted so and on which words
    other: str


@dataclass(frozen=True)
class Disputed:
    """One field."""

    field: str
    conflicts: int
    pairs: int
    dropped: int  # of these, the pairs that the version does not hold
    kinds: list[tuple[str, str, int]]  # given, other, number
    examples: list[Dispute]


_CHOSEN = """
    WITH one AS (
        SELECT conflict.*, version_pair.image_path, version_pair.caption, version_pair.sha256,
               row_number() OVER (PARTITION BY conflict.field, conflict.pair_id ORDER BY conflict.id) AS of_pair
        FROM conflict
        JOIN version_pair ON version_pair.pair_id = conflict.pair_id AND version_pair.version_id = :v
        WHERE conflict.version_id = :v
    ), ordered AS (
        SELECT one.*, row_number() OVER (PARTITION BY field ORDER BY of_pair, sha256, pair_id) AS place FROM one
    )
    SELECT * FROM ordered WHERE place <= :most ORDER BY field, place
"""


def conflicts(ask: Ask) -> list[Disputed]:
    """All fields on which votes disagree, most first; of kept and of dropped pairs, with examples of kept ones."""
    kinds = defaultdict(list)
    for field, *kind in ask.rows(
        "SELECT field, value, other_value, count(*) FROM conflict WHERE version_id = :v "
        "GROUP BY field, value, other_value ORDER BY count(*) DESC, value, other_value"
    ):
        kinds[field].append(tuple(kind))
    examples = defaultdict(list)
    for row in ask.rows(_CHOSEN, most=_EXAMPLES):
        picture = Picture(row.image_path, brief(row.caption), row.pair_id)
        given = f"{row.value} ({row.voter}: {cut(row.evidence, _WORDS)})"
        other = f"{row.other_value} ({row.other_voter}: {cut(row.other_evidence, _WORDS)})"
        examples[row.field].append(Dispute(picture, given, other))
    counts = ask.rows(
        "SELECT conflict.field, count(*), count(DISTINCT conflict.pair_id), count(DISTINCT version_pair.pair_id) "
        "FROM conflict LEFT JOIN version_pair "
        "ON version_pair.pair_id = conflict.pair_id AND version_pair.version_id = conflict.version_id "
        "WHERE conflict.version_id = :v GROUP BY conflict.field ORDER BY count(*) DESC, conflict.field"
    )
    return [
        Disputed(field, count, pairs, pairs - held, kinds[field][:_KINDS], examples[field])
        for field, count, pairs, held in counts
    ]
