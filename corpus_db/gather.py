"""Gather what a source last said and what was fetched of it: cases, topics, and the stored bytes of each image."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from sqlalchemy import Connection, Table, and_, func, or_, select
from sqlmodel import SQLModel

from corpus_db import models as _models  # noqa: F401 - fills the metadata that table() reads
from corpus_db.records import CaseRecord, ImageRecord, Reader, TopicRecord
from corpus_db.text import storable_json

CHUNK = 1000


def table(name: str) -> Table:
    """A table of the models, for Core statements."""
    return SQLModel.metadata.tables[name]


@dataclass(frozen=True)
class StoredImage:
    """The newest bytes under one address, and how the last try to fetch it ended."""

    sha256: str
    image_path: str
    status: str


@dataclass
class Images:
    """Every image of one source that has bytes, by address and by name."""

    by_path: dict[str, StoredImage] = field(default_factory=dict)
    by_name: dict[str, StoredImage] = field(default_factory=dict)
    known_paths: set[str] = field(default_factory=set)  # also of those without bytes

    def of(self, image: ImageRecord) -> StoredImage | None:
        """The bytes of a listed image: by its address where the ledger knows it, else by its name."""
        for path in site_paths(image.url):
            if path in self.known_paths:
                return self.by_path.get(path)
        return self.by_name.get(image.name)


@dataclass
class Gathered:
    """What one source says, as its reader understands it."""

    source_id: int
    source: str
    licence: str | None
    cases: dict[str, CaseRecord] = field(default_factory=dict)
    topics: dict[str, TopicRecord] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)  # keys of cases that the source no longer has
    images: Images = field(default_factory=Images)


@dataclass(frozen=True)
class Listing:
    """An image with the one case that it is counted to."""

    case: CaseRecord
    image: ImageRecord


def site_paths(url: str | None) -> tuple[str, ...]:
    """The forms under which the ledger may hold an address: as given, or from the site's root with single slashes."""
    if not url:
        return ()
    try:
        parts = urlsplit(url)
    except ValueError:  # such as a bad IPv6 host
        return (url,)
    path = re.sub(r"/{2,}", "/", "/" + (parts.path if parts.scheme else url.partition("?")[0]))
    return (url, f"{path}?{parts.query}" if parts.query else path)


def pairs_of_file(connection: Connection, name: str, most: int) -> list[str]:
    """The ids of the last build's pairs, at most so many, whose image has this path at its source, or ends so."""
    pair, ref = table("pair"), table("image_ref")
    same = (
        pair.c.source_id == ref.c.source_id,
        pair.c.upstream_name == ref.c.upstream_name,
        pair.c.image_sha256 == ref.c.image_sha256,
    )
    named = or_(ref.c.path == name, ref.c.path.endswith("/" + name, autoescape=True))
    statement = select(pair.c.id).distinct().join(ref, and_(*same)).where(named).order_by(pair.c.id).limit(most)
    return list(connection.execute(statement).scalars())


def gather(connection: Connection, source: Mapping, reader: Reader) -> Gathered:
    """Read one source whole: its newest records, what of it is gone, and its images."""
    found = Gathered(source["id"], source["name"], source["licence"])
    kinds = set()
    for kind, body in newest_records(connection, found.source_id):
        record = reader(kind, storable_json(body))
        if isinstance(record, CaseRecord):
            found.cases[record.key] = joined(found.cases.get(record.key), record)
            kinds.add(kind)
        elif isinstance(record, TopicRecord):
            found.topics[record.key] = record
    found.gone = _gone_keys(connection, found.source_id, kinds)
    found.images = _images(connection, found.source_id)
    return found


def joined(before: CaseRecord | None, record: CaseRecord) -> CaseRecord:
    """A case of which several records tell: the images of all, each text as the first has it."""
    if before is None:
        return record
    told = {name: getattr(before, name) or value for name, value in vars(record).items()}
    return CaseRecord(**{**told, "images": (*before.images, *record.images)})


def newest_records(connection: Connection, source_id: int) -> Iterator[tuple[str, object]]:
    """(kind, body) of the newest raw record of each kind and key, streamed."""
    raw = table("raw_record")
    newest = (
        select(func.max(raw.c.id).label("id"))
        .where(raw.c.source_id == source_id)
        .group_by(raw.c.kind, raw.c.key)
        .subquery()
    )
    statement = select(raw.c.kind, raw.c.body).join(newest, newest.c.id == raw.c.id).order_by(raw.c.kind, raw.c.key)
    for row in connection.execute(statement.execution_options(yield_per=CHUNK)):
        yield row.kind, row.body


def key_of_path(path: str) -> str:
    """The source's own id at the end of an address: ID of /rest/encounter.json?encounterID=ID."""
    return unquote(re.split(r"[/=]", path)[-1])


def _gone_keys(connection: Connection, source_id: int, kinds: Iterable[str]) -> set[str]:
    fetch = table("fetch")
    statement = select(fetch.c.path).where(
        fetch.c.source_id == source_id, fetch.c.kind.in_(sorted(kinds)), fetch.c.status == "gone"
    )
    return {key_of_path(path) for path in connection.execute(statement).scalars()}


def _images(connection: Connection, source_id: int) -> Images:
    fetch, ref, image = table("fetch"), table("image_ref"), table("image")
    found = Images()
    listed = select(fetch.c.path, fetch.c.status).where(fetch.c.source_id == source_id, fetch.c.kind == "image")
    status = {row.path: row.status for row in connection.execute(listed)}
    found.known_paths = set(status)
    refs = (
        select(ref.c.upstream_name, ref.c.path, ref.c.image_sha256, image.c.path.label("image_path"))
        .join(image, image.c.sha256 == ref.c.image_sha256)
        .where(ref.c.source_id == source_id)
        .order_by(ref.c.id)  # a newer row of a name replaces an older one
    )
    for row in connection.execute(refs.execution_options(yield_per=CHUNK)):
        stored = StoredImage(row.image_sha256, row.image_path, status.get(row.path, "unknown"))
        found.by_path[row.path] = found.by_name[row.upstream_name] = stored
    return found


def withheld_keys(cases: Iterable[CaseRecord]) -> set[str]:
    """Images that any case marks as deleted or hidden."""
    return {image.key for case in cases for image in case.images if image.withheld}


def owned_listings(cases: Mapping[str, CaseRecord]) -> list[Listing]:
    """Each listed image once, sorted by its key: under the case that owns it, else the smallest key that lists it."""
    by_image: dict[str, dict[str, ImageRecord]] = defaultdict(dict)
    for key in sorted(cases):
        for image in cases[key].images:
            by_image[image.key].setdefault(key, image)
    listings = []
    for _, listed in sorted(by_image.items()):
        # a claim counts only for a case that was read and lists the image itself
        owner = next((image.case_key for image in listed.values() if image.case_key in listed), None) or next(
            iter(listed)
        )
        listings.append(Listing(cases[owner], listed[owner]))
    return listings
