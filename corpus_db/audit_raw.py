"""What the raw records say of each image, read anew for the audit: its case, patient, name and caption."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from corpus_db.gather import CHUNK, joined, key_of_path, site_paths, table
from corpus_db.records import CaseRecord, ImageRecord, Readers
from corpus_db.text import storable_json

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Said:
    """One image as its source's raw records have it."""

    case_id: str  # source:key of the case that it belongs to
    patient_key: str | None
    name: str
    url: str | None
    caption: str
    withheld: bool  # any case marks it as deleted or hidden


@dataclass
class Raw:
    """All sources, at one time."""

    images: dict[str, Said] = field(default_factory=dict)  # by source:key of the image
    by_case: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # case id -> image keys

    def faults(self, row: Row) -> Iterator[str]:
        """What a frozen row says that the raw records do not."""
        said = self.images.get(image_key(row))
        if said is None:
            yield "no raw record lists the image"
            return
        if row["case_id"] != said.case_id:
            yield f"case {row['case_id']}, raw {said.case_id}"
        if row["patient_key"] != said.patient_key:
            yield f"patient {row['patient_key']}, raw {said.patient_key}"
        if row["upstream_name"] != said.name:
            yield f"name {row['upstream_name']}, raw {said.name}"
        if said.withheld:
            yield "withheld upstream"


def image_key(row: Row) -> str:
    """The key of a frozen row's image among what was said."""
    return f"{row['source']}:{row['source_id']}"


def read_raw(connection: Connection, readers: Readers, until: datetime | None = None) -> Raw:
    """What the newest raw records say, or the newest up to a time (UTC); sources that no reader knows say nothing."""
    found = Raw()
    source = table("source")
    for row in connection.execute(select(source.c.id, source.c.name, source.c.shape)).all():
        if row.shape in readers:
            cases: dict[str, CaseRecord] = {}
            for kind, body in _newest(connection, row.id, until):
                if isinstance(record := readers[row.shape](kind, body), CaseRecord):
                    cases[record.key] = joined(cases.get(record.key), record)
            _take(found, row.name, cases)
    return found


def _newest(connection: Connection, source_id: int, until: datetime | None) -> Iterator[tuple[str, object]]:
    raw = table("raw_record")
    newest = select(func.max(raw.c.id)).where(raw.c.source_id == source_id).group_by(raw.c.kind, raw.c.key)
    if until is not None:
        newest = newest.where(raw.c.seen_at <= until)
    statement = select(raw.c.kind, raw.c.body).where(raw.c.id.in_(newest)).order_by(raw.c.kind, raw.c.key)
    for row in connection.execute(statement.execution_options(yield_per=CHUNK)):
        yield row.kind, storable_json(row.body)


def _take(found: Raw, source: str, cases: Mapping[str, CaseRecord]) -> None:
    listed: dict[str, list[tuple[str, ImageRecord]]] = defaultdict(list)
    for case in cases.values():
        for image in case.images:
            listed[image.key].append((case.key, image))
    for key, listings in listed.items():
        # the case that the image itself names, where that case lists it; else the first of those that do, by key
        listings.sort(key=lambda item: item[0])
        known = [name for name, _ in listings]
        owner = next((image.case_key for _, image in listings if image.case_key in known), known[0])
        image = next(image for name, image in listings if name == owner)
        patient = cases[str(owner)].patient_key
        found.images[f"{source}:{key}"] = Said(
            f"{source}:{owner}",
            f"{source}:{patient}" if patient else None,
            image.name,
            image.url,
            image.caption or "",
            any(each.withheld for _, each in listings),
        )
        found.by_case[f"{source}:{owner}"].append(f"{source}:{key}")


class Names:
    """Which bytes each source has given under which name and address."""

    def __init__(self, connection: Connection):
        ref, image, source = table("image_ref"), table("image"), table("source")
        statement = (
            select(source.c.name, ref.c.upstream_name, ref.c.path, ref.c.image_sha256, image.c.path.label("file"))
            .join(source, source.c.id == ref.c.source_id)
            .join(image, image.c.sha256 == ref.c.image_sha256)
            .order_by(ref.c.id)
        )
        self.files: dict[str, str] = {}  # sha256 -> path
        self._given: dict[tuple[str, str], list[str]] = defaultdict(list)
        for source_name, name, path, sha256, file in connection.execute(statement):
            self.files[sha256] = file
            for known_as in {name, path}:
                self._given[source_name, known_as].append(sha256)

    def of(self, source: str, said: Said) -> set[str]:
        """The sha256 of all that was ever given for an image."""
        known_as = (said.name, *site_paths(said.url))
        return {sha256 for each in known_as for sha256 in self._given.get((source, each), ())}


def untraced_captions(
    connection: Connection, version_id: int, rows: Sequence[Row], raw: Raw
) -> Iterator[tuple[str, str]]:
    """(pair id, what is wrong) of frozen captions that the version's edits do not lead to from the raw caption."""
    edit = table("edit")
    columns = edit.c.pair_id, edit.c.before, edit.c.after
    statement = select(*columns).where(edit.c.version_id == version_id).order_by(edit.c.pair_id, edit.c.step)
    reached: dict[str, str] = {}
    broken = set()
    for pair_id, before, after in connection.execute(statement.execution_options(yield_per=CHUNK)):
        said = raw.images.get(pair_id)
        if before != reached.get(pair_id, said.caption if said else None):
            broken.add(pair_id)
        reached[pair_id] = after
    for row in rows:
        said = raw.images.get(image_key(row))
        if said is not None:
            if row["pair_id"] in broken:
                yield row["pair_id"], "its edits do not start from the raw caption"
            elif row["caption"] != reached.get(row["pair_id"], said.caption):
                yield row["pair_id"], "no edit leads from the raw caption to this one"


def gone_cases(connection: Connection) -> set[str]:
    """The cases (source:key) that their source no longer has."""
    fetch, source = table("fetch"), table("source")
    statement = (
        select(source.c.name, fetch.c.path)
        .join(source, source.c.id == fetch.c.source_id)
        .where(fetch.c.status == "gone", fetch.c.kind != "image")
    )
    return {f"{name}:{key_of_path(path)}" for name, path in connection.execute(statement)}
