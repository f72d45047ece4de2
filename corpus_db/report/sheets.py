"""Contact sheets: some pairs of each modality, chosen by their images' hashes, so that every run shows the same."""

from dataclasses import dataclass

from corpus_db.report.ask import NONE, Ask, Picture, brief

PICTURES = 288  # of all sheets together
_MOST, _FEWEST = 48, 12  # of one sheet


@dataclass(frozen=True)
class Sheet:
    """Some pairs of one modality, of so many."""

    modality: str
    pairs: int
    pictures: list[Picture]


# a hash is a fair draw: the smallest ones are a random sample that never changes; one pair a case before any second
_CHOSEN = """
    WITH drawn AS (
        SELECT modality, pair_id, image_path, sha256, caption, plane, region,
               row_number() OVER (PARTITION BY modality, case_id ORDER BY sha256, pair_id) AS of_case
        FROM version_pair WHERE version_id = :v
    ), ordered AS (
        SELECT drawn.*, row_number() OVER (PARTITION BY modality ORDER BY of_case, sha256, pair_id) AS place FROM drawn
    )
    SELECT modality, pair_id, image_path, caption, plane, region FROM ordered WHERE place <= :most ORDER BY place
"""


def sheets(ask: Ask) -> list[Sheet]:
    """A sheet for each modality, the largest first."""
    counts = [(name, count) for name, count, _ in ask.counts("modality")]
    most = max(_FEWEST, min(_MOST, PICTURES // max(1, len(counts))))
    pictures: dict[str, list[Picture]] = {name: [] for name, _ in counts}
    for row in ask.rows(_CHOSEN, most=most):
        tags = tuple(filter(None, (row.plane, row.region)))
        picture = Picture(row.image_path, brief(row.caption), row.pair_id, tags)
        pictures[row.modality or NONE].append(picture)
    return [Sheet(name, count, pictures[name]) for name, count in counts]
