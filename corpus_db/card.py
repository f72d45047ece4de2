"""Write a version's data card: a Markdown page of what it holds, where that came from, and what is known to be wrong.

Counts only: no caption, no title and no name of a person, so that a card can be shown where its corpus cannot.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, text

from corpus_db import split, version
from corpus_db.db import image_root
from corpus_db.files import written
from corpus_db.sql_output import shown

SPLITS = ("train", "val", "test")
_LABELS = ("source", "modality", "plane", "region", "laterality")
_LONGEST = 100  # bytes of a file name that come from the version's name
_DEIDENTIFICATION = "deid_"  # how the names of its rules begin
LIMITS = (
    "MedPix states no licence for its images and texts: whether they may be passed on is for you to clear.",
    "Modality, plane, region and side come from upstream words, captions and pixels by vote, not from a reader's eyes; "
    "votes that contradict one another are rows of `conflict`, and the value given then is the best supported one.",
    "A label that no vote supports is empty; that says nothing of the image.",
    "Captions were written for teaching: they name what is remarkable, not all that is seen.",
    "De-identification finds what its rules know; text burnt into pixels stays, and the audit only names suspects.",
    "Patients are told apart where the source does so; elsewhere a case stands for a patient, and one patient in two "
    "cases is not known as one.",
    "Near-duplicates are those that the duplicate search finds; a strongly altered copy counts as another image.",
    "Groups are never cut, so split shares are near 80/10/10, not at it.",
)


def folder_of(url: URL) -> Path:
    """The folder of a database's cards: beside an SQLite file, else below the data folder."""
    stem = Path(url.database or "").stem if url.get_backend_name() == "sqlite" else url.database or ""
    return image_root(url) / f"{_safe(stem)}.cards"


def path_of(url: URL, name: str) -> Path:
    """Where the card of the version of that name lies, if it has one."""
    return folder_of(url) / f"{_safe(name)}.md"


def write(connection: Connection, version_id: int, folder: Path, audit: str | None = None) -> Path:
    """Write the card of a version into `folder`, whole or not at all; `audit`: its result, as Markdown."""
    name = connection.execute(text("SELECT name FROM version WHERE id = :id"), {"id": version_id}).scalar_one()
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{_safe(name)}.md"
    with written(target) as file:
        file.write(card(connection, version_id, audit).encode())
    return target


def card(connection: Connection, version_id: int, audit: str | None = None) -> str:
    """The card as Markdown; but for the time of creation, it follows from the version's content alone."""
    name = connection.execute(text("SELECT name FROM version WHERE id = :id"), {"id": version_id}).scalar_one()
    asked = version.resolve(connection, name)
    ask = _Asker(connection, version_id)
    sections = (
        ("Counts", _counts(ask)),
        ("Captions", _captions(ask)),
        ("Sources and licences", _sources(ask, asked.config)),
        ("Noise before and after", _noise(ask)),
        ("Duplicates", _duplicates(ask)),
        ("Conflicts between votes", _conflicts(ask)),
        ("Exclusions", _exclusions(ask, asked.config)),
        ("Audit", [audit.strip()] if audit else ["Not audited when it was made; run: python cli.py audit VERSION"]),
        ("Known limits", [f"- {limit}" for limit in LIMITS]),
    )
    lines = [f"# {_cell(asked.name)}", "", *_head(ask, asked)]
    for title, body in sections:
        lines += ["", f"## {title}", "", *body]
    return "\n".join(lines) + "\n"


class _Asker:
    """Runs statements about one version."""

    def __init__(self, connection: Connection, version_id: int):
        self.connection, self.version_id = connection, version_id

    def rows(self, statement: str) -> Sequence[Any]:
        return self.connection.execute(text(statement), {"v": self.version_id}).all()

    def one(self, statement: str) -> Any:
        return self.rows(statement)[0]


def _head(ask: _Asker, asked: version.VersionRow) -> Iterator[str]:
    parent = ask.rows(
        "SELECT parent.name FROM version JOIN version AS parent ON parent.id = version.parent_id WHERE version.id = :v"
    )
    pairs, cases, images = ask.one(
        "SELECT count(*), count(DISTINCT case_id), count(DISTINCT sha256) FROM version_pair WHERE version_id = :v"
    )
    yield f"{pairs} image-caption pairs of {cases} cases, {images} distinct images."
    yield ""
    excluded = "".join(f" --exclude {spec}" for spec in asked.config.get("exclude", ()))
    whole = "" if asked.config.get("exclude_cases", True) else " --images-only"
    yield from _table(
        ("", ""),
        (
            ("tag", ", ".join(asked.tags) or "none"),
            ("manifest (SHA-256)", f"`{asked.manifest_sha256}`"),
            ("parent", parent[0][0] if parent else "none"),
            ("created (UTC)", asked.created),
            ("schema", asked.config.get("schema", "")),
            ("algorithms", ", ".join(f"{name} {number}" for name, number in _items(asked.config.get("algorithms")))),
            ("rebuilt by", f"`python cli.py build{excluded}{whole}` on the same raw records and parent"),
            ("proved by", "`python cli.py verify`, `python cli.py audit`"),
        ),
    )


def _counts(ask: _Asker) -> Iterator[str]:
    for name in _LABELS:
        found = ask.rows(
            f"SELECT {name}, count(*), count(DISTINCT case_id) FROM version_pair WHERE version_id = :v "
            f"GROUP BY {name} ORDER BY count(*) DESC, {name}"
        )
        yield from _table((name, "pairs", "cases"), ((value or "(empty)", *counts) for value, *counts in found))
        yield ""
    yield "Splits, with each modality's deviation from 80 / 10 / 10 in points:"
    yield ""
    rows = ask.rows("SELECT modality, split, count(*) FROM version_pair WHERE version_id = :v GROUP BY modality, split")
    counts = Counter({(modality or "", part): count for modality, part, count in rows})
    off = split.deviation((modality, part) for modality, part in counts.elements())
    off["all"] = split.deviation(("all", part) for _, part in counts.elements()).get("all", {})
    body = []
    for modality, deviations in off.items():
        number = {s: sum(n for (m, p), n in counts.items() if p == s and modality in ("all", m)) for s in SPLITS}
        told = (f"{number[s]} ({deviations.get(s, 0):+.1f})" for s in SPLITS)
        body.append((modality or "(empty)", *told))
    yield from _table(("modality", *SPLITS), body)


def _captions(ask: _Asker) -> Iterator[str]:
    rows = ask.rows("SELECT caption FROM version_pair WHERE version_id = :v")
    words = [len(caption.split()) for (caption,) in rows]
    groups = [
        count for (count,) in ask.rows("SELECT count(*) FROM version_pair WHERE version_id = :v GROUP BY caption_group")
    ]
    shared = [count for count in groups if count > 1]
    told = f"{min(words)} / {median(words):g} / {max(words)}" if words else "none"
    yield from _table(
        ("", ""),
        (
            ("words (min / median / max)", told),
            ("distinct captions", len(groups)),
            ("captions over several images", len(shared)),
            ("pairs under such a caption", sum(shared)),
            ("images under the commonest", max(groups, default=0)),
        ),
    )


def _sources(ask: _Asker, config: Mapping[str, Any]) -> Iterator[str]:
    counts = dict(ask.rows("SELECT source, count(*) FROM version_pair WHERE version_id = :v GROUP BY source"))
    excluded = {spec.partition(":")[0] for spec in config.get("exclude", ())}
    known = ask.rows("SELECT name, site, licence, citation FROM source WHERE :v > 0 ORDER BY name")
    yield from _table(
        ("source", "pairs", "site", "licence", "citation"),
        (
            (name, counts.get(name, 0), site or "", licence or "none stated", citation or "")
            for name, site, licence, citation in known
            if name in counts or name in excluded or name in config.get("sources", ())
        ),
    )
    licence, credit = ask.one(
        "SELECT count(*) - count(licence), count(*) - count(credit) FROM version_pair WHERE version_id = :v"
    )
    yield ""
    yield f"Licence gaps: {licence} pairs without a stated licence, {credit} without a credit."


def _noise(ask: _Asker) -> Iterator[str]:
    """What cleaning did to the captions that were read, kept or dropped, and to the texts of their cases."""
    kept = ask.one("SELECT count(*) FROM version_pair WHERE version_id = :v")[0]
    dropped = ask.rows(
        "SELECT reason, count(*) FROM version_drop WHERE version_id = :v GROUP BY reason ORDER BY count(*) DESC, reason"
    )
    edited = ask.one("SELECT count(DISTINCT pair_id) FROM edit WHERE version_id = :v")[0]
    left_out = sum(count for _, count in dropped)
    yield (
        f"Before: {kept + left_out} captioned images that arrived. After: {kept} pairs; {left_out} left out, "
        f"and {edited} captions changed."
    )
    yield ""
    yield from _table(("left out because", "pairs"), dropped)
    captions = ask.rows(
        "SELECT rule, count(*), count(DISTINCT pair_id) FROM edit WHERE version_id = :v GROUP BY rule ORDER BY rule"
    )
    texts = ask.rows(
        "SELECT rule, count(*), count(DISTINCT study_case_id) FROM case_edit WHERE version_id = :v "
        "GROUP BY rule ORDER BY rule"
    )
    yield ""
    yield from _table(("cleaning rule", "changes", "captions"), _of_deidentification(captions, False))
    yield ""
    yield from _table(("de-identified in captions", "changes", "captions"), _of_deidentification(captions, True))
    yield ""
    yield from _table(("de-identified in case texts", "changes", "cases"), texts)


def _of_deidentification(rows: Sequence[Any], wanted: bool) -> list[Any]:
    return [row for row in rows if row[0].startswith(_DEIDENTIFICATION) is wanted]


def _duplicates(ask: _Asker) -> Iterator[str]:
    kinds = ask.rows(
        "SELECT kind, count(DISTINCT cluster), count(*) FROM duplicate "
        "WHERE version_id = :v AND kind <> 'first' GROUP BY kind ORDER BY kind"
    )
    yield from _table(("alike by", "clusters", "members found so"), kinds)
    sizes = Counter(
        size
        for (size,) in ask.rows(
            "SELECT count(*) FROM version_pair WHERE version_id = :v GROUP BY duplicate_cluster HAVING count(*) > 1"
        )
    )
    yield ""
    yield from _table(("pairs that share one image", "clusters"), sorted(sizes.items()))


def _conflicts(ask: _Asker) -> Iterator[str]:
    yield from _table(
        ("field", "conflicts", "pairs"),
        ask.rows(
            "SELECT field, count(*), count(DISTINCT pair_id) FROM conflict WHERE version_id = :v "
            "GROUP BY field ORDER BY field"
        ),
    )


def _exclusions(ask: _Asker, config: Mapping[str, Any]) -> Iterator[str]:
    specs = config.get("exclude", ())
    if not specs:
        yield "No evaluation set was excluded."
        return
    details = [
        detail or ""
        for (detail,) in ask.rows("SELECT detail FROM version_drop WHERE version_id = :v AND reason = 'excluded'")
    ]
    counts = Counter(spec for detail in details for spec in specs if re.match(rf"{re.escape(spec)}(\s|$)", detail))
    cases = "with" if config.get("exclude_cases", True) else "without"
    yield from _table(("evaluation set", f"pairs left out ({cases} whole cases)"), ((s, counts[s]) for s in specs))


def _table(head: Sequence[Any], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """A Markdown table; "None." where there is no row."""
    body = [f"| {' | '.join(_cell(value) for value in row)} |" for row in rows]
    if not body:
        yield f"No {_cell(head[0])}." if head[0] else "None."
        return
    yield f"| {' | '.join(map(_cell, head))} |"
    yield "| --- " + "| ---: " * (len(head) - 1) + "|" if head[0] else "| --- " * len(head) + "|"
    yield from body


def _cell(value: Any) -> str:
    """Text from strangers as a table's cell: no markup, no line ends."""
    return re.sub(r"([|<>\[\]\\])", r"\\\1", shown(str(value)))


def _items(found: Any) -> list[tuple[Any, Any]]:
    return sorted(found.items()) if isinstance(found, dict) else []


def _safe(name: str) -> str:
    """A name as a file name that no system takes amiss; a long one is cut and told apart by its hash."""
    safe = quote(name, safe=" ").replace(".", "%2E", 1) if name.startswith(".") else quote(name, safe=" ")
    if len(safe) <= _LONGEST and safe == safe.strip() and safe:
        return safe
    return f"{safe[: _LONGEST - 17].strip()}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
