"""What a version is and holds: its numbers, labels, ages, sources and licences."""

from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import Any

from corpus_db.repeats import SAMPLE
from corpus_db.report.ask import NONE, Ask, Counted, Heat, counted, heat


@dataclass(frozen=True)
class Overview:
    """Counts of the frozen rows."""

    numbers: list[tuple[str, Any, str]]  # label, value, note
    facts: list[tuple[str, str]]
    bars: dict[str, Counted]
    regions: Heat  # modality x region
    planes: Heat  # modality x plane
    by_modality: list[tuple[str, int, Heat]]  # modality, pairs, plane x region
    ages: Counted
    sexes: Counted
    fetched: Counted  # months in which the images came
    sources: list[tuple[Any, ...]]  # name, pairs, site, licence, citation
    licences: Counted
    missing: Counted  # frozen fields that are empty

    @property
    def of_sample(self) -> bool:
        """Whether it holds phantoms of the embedded sample site."""
        return any(name == SAMPLE for name, *_ in self.sources)


_FIELDS = ("licence", "credit", "title", "diagnosis", "patient_key")
_OLDEST = 90  # years, from which ages are one group: rarer ones could tell who it is


def overview(ask: Ask) -> Overview:
    """All of it, by counting."""
    cells = ask.rows(
        "SELECT modality, plane, region, count(*) FROM version_pair WHERE version_id = :v "
        "GROUP BY modality, plane, region ORDER BY modality, plane, region"
    )
    per_modality = Counter[str]()
    for modality, _, _, count in cells:
        per_modality[modality or NONE] += count
    return Overview(
        numbers=_numbers(ask),
        facts=_facts(ask),
        bars={name: ask.counts(name) for name in ("modality", "plane", "region", "laterality", "source")},
        regions=heat("modality", [(m, r, n) for m, _, r, n in cells]),
        planes=heat("modality", [(m, p, n) for m, p, _, n in cells]),
        by_modality=[
            (name, count, heat("plane", [(p, r, n) for m, p, r, n in cells if (m or NONE) == name]))
            for name, count in per_modality.most_common()
        ],
        ages=_ages(ask),
        sexes=counted(
            ask.rows(
                "SELECT pair.sex, count(*) FROM version_pair LEFT JOIN pair ON pair.id = version_pair.pair_id "
                "WHERE version_id = :v GROUP BY pair.sex ORDER BY count(*) DESC, pair.sex"
            )
        ),
        fetched=_fetched(ask),
        sources=_sources(ask),
        licences=_or_none_stated(ask.counts("licence")),
        missing=_missing(ask),
    )


def _numbers(ask: Ask) -> list[tuple[str, Any, str]]:
    pairs, cases, images, captions = ask.one(
        "SELECT count(*), count(DISTINCT case_id), count(DISTINCT sha256), count(DISTINCT caption_group) "
        "FROM version_pair WHERE version_id = :v"
    )
    words = [len(caption.split()) for (caption,) in ask.rows("SELECT caption FROM version_pair WHERE version_id = :v")]
    (dropped,) = ask.one("SELECT count(*) FROM version_drop WHERE version_id = :v")
    return [
        ("pairs", pairs, "image and caption"),
        ("cases", cases, ""),
        ("distinct images", images, ""),
        ("distinct captions", captions, ""),
        ("words a caption", f"{median(words):g}" if words else None, f"{min(words)} to {max(words)}" if words else ""),
        ("left out", dropped, "with a reason each"),
    ]


def _facts(ask: Ask) -> list[tuple[str, str]]:
    version = ask.version
    parents = ask.rows("SELECT name FROM version WHERE id = :parent", parent=version.parent_id)
    excluded = ", ".join(version.config.get("exclude", ()))
    return [
        ("version", version.name),
        ("tags", ", ".join(version.tags) or "none"),
        ("manifest (SHA-256)", version.manifest_sha256),
        ("built (UTC)", version.created),
        ("parent", parents[0][0] if parents else "none"),
        ("built without", excluded or "no evaluation set was excluded"),
    ]


def _ages(ask: Ask) -> Counted:
    """Patients' ages by decades of years, as far as the last build's rows tell them."""
    decades: Counter[int | None] = Counter()
    for age, count in ask.rows(
        "SELECT pair.age, count(*) FROM version_pair LEFT JOIN pair ON pair.id = version_pair.pair_id "
        "WHERE version_id = :v GROUP BY pair.age"
    ):
        years = int(age) if age and age.strip().isascii() and age.strip().isdigit() else None
        decades[min(years // 10 * 10, _OLDEST) if years is not None else None] += count
    known = sorted(decade for decade in decades if decade is not None)
    rows = [(f"{at} and over" if at == _OLDEST else f"{at} to {at + 9}", decades[at]) for at in known]
    return counted([*rows, *([("not told in years", decades[None])] if decades[None] else [])])


def _fetched(ask: Ask) -> Counted:
    months = Counter(
        str(seen)[:7]
        for (seen,) in ask.rows(
            "SELECT min(seen_at) FROM version_pair JOIN image_ref ON image_ref.image_sha256 = version_pair.sha256 "
            "WHERE version_id = :v GROUP BY pair_id"
        )
    )
    return counted(sorted(months.items()))


def _sources(ask: Ask) -> list[tuple[Any, ...]]:
    return [
        tuple(row)
        for row in ask.rows(
            "SELECT version_pair.source, count(*), source.site, source.licence, source.citation FROM version_pair "
            "LEFT JOIN source ON source.name = version_pair.source WHERE version_id = :v "
            "GROUP BY version_pair.source, source.site, source.licence, source.citation "
            "ORDER BY count(*) DESC, version_pair.source"
        )
    ]


def _or_none_stated(rows: Counted) -> Counted:
    return [("none stated" if label == NONE else label, count, share) for label, count, share in rows]


def _missing(ask: Ask) -> Counted:
    columns = ", ".join(f"count(*) - count({name})" for name in _FIELDS)
    total, *found = ask.one(f"SELECT count(*), {columns} FROM version_pair WHERE version_id = :v")
    return [(name.replace("_key", ""), count, count / (total or 1)) for name, count in zip(_FIELDS, found, strict=True)]
