"""Where the corpus is thin: modalities without regions, labels that nobody gave, splits without a pair."""

from dataclasses import dataclass

from corpus_db.regions import REGIONS
from corpus_db.report.ask import NONE, SPLITS, Ask, Heat, heat

THIN = 20  # pairs of a cell, below which a test split of a tenth holds one or two
_SIDED = ("upper limb", "lower limb", "breast")  # regions of which every image shows a side
_LABELS = ("modality", "plane", "region", "laterality")


@dataclass(frozen=True)
class Holes:
    """What is missing, by counting."""

    cells: Heat  # modality x region, each region of the list that there is
    empty: int
    thin: int
    unlabelled: list[tuple[str, int, list[tuple[int, float]]]]  # modality, pairs, of each label: without it, share
    labels: tuple[str, ...]
    no_side: list[tuple[str, int, int]]  # region, pairs, without a side
    no_split: list[tuple[str, str, int]]  # modality, split without a pair, pairs of the modality


def holes(ask: Ask) -> Holes:
    """All of it; a region that no label named is no hole."""
    rows = ask.rows(
        "SELECT modality, region, count(*) FROM version_pair WHERE version_id = :v GROUP BY modality, region"
    )
    modalities = sorted({modality or NONE for modality, _, _ in rows})
    listed = [(modality, region, 0) for modality in modalities for region in REGIONS]
    cells = heat("modality", [*listed, *[row for row in rows if row[1] is not None]])
    numbers = [number for _, counts, _ in cells.rows for number in counts]
    return Holes(
        cells=cells,
        empty=sum(number == 0 for number in numbers),
        thin=sum(0 < number < THIN for number in numbers),
        unlabelled=_unlabelled(ask),
        labels=_LABELS[1:],
        no_side=_no_side(ask),
        no_split=_no_split(ask),
    )


def _unlabelled(ask: Ask) -> list[tuple[str, int, list[tuple[int, float]]]]:
    columns = ", ".join(f"count(*) - count({name})" for name in _LABELS[1:])
    rows = ask.rows(
        f"SELECT modality, count(*), {columns} FROM version_pair WHERE version_id = :v "
        "GROUP BY modality ORDER BY count(*) DESC, modality"
    )
    return [(name or NONE, total, [(count, count / total) for count in found]) for name, total, *found in rows]


def _no_side(ask: Ask) -> list[tuple[str, int, int]]:
    named = ", ".join(f"'{region}'" for region in _SIDED)
    rows = ask.rows(
        "SELECT region, count(*), count(*) - count(laterality) FROM version_pair "
        f"WHERE version_id = :v AND region IN ({named}) GROUP BY region ORDER BY count(*) DESC, region"
    )
    return [tuple(row) for row in rows]


def _no_split(ask: Ask) -> list[tuple[str, str, int]]:
    rows = ask.rows("SELECT modality, split, count(*) FROM version_pair WHERE version_id = :v GROUP BY modality, split")
    held: dict[str, dict[str, int]] = {}
    for modality, split, count in rows:
        held.setdefault(modality or NONE, {})[split] = count
    return [
        (modality, split, sum(found.values()))
        for modality, found in sorted(held.items(), key=lambda item: (-sum(item[1].values()), item[0]))
        for split in SPLITS
        if split not in found
    ]
