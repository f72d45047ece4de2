"""A tiny corpus written straight into the tables, as a crawl would have left it, and its reader."""

import functools
import hashlib
import json
from typing import Any

from sqlalchemy import Engine, func, insert, select

from corpus_db import build as building
from corpus_db.gather import table
from corpus_db.models import now
from corpus_db.records import CaseRecord, ImageRecord, TopicRecord


def read(kind: str, body: Any) -> CaseRecord | TopicRecord | None:
    """The reader of the tests' own shape: fields named as the records are."""
    if kind == "topic":
        return TopicRecord(**body)
    if kind != "encounter":
        return None
    return CaseRecord(**{**body, "images": tuple(ImageRecord(**image) for image in body["images"])})


READERS = {"test": read}
# the images of such a corpus have no bytes on disk, which the audit would rightly refuse
build = functools.partial(building.build, audited=False)


def image(key: str, case: str | None, caption: str | None = "Axial CT shows a mass.", **changes: Any) -> dict[str, Any]:
    """A listed image."""
    base = {"key": key, "case_key": case, "name": f"synpic{key}", "url": f"/images/full/synpic{key}.jpg"}
    return {**base, "caption": caption, "modality": "CT - noncontrast", "plane": "Axial", **changes}


class Filler:
    """Writes source, ledger, raw and image rows of one source."""

    def __init__(self, engine: Engine, name: str = "medpix", site: str = "http://127.0.0.1:1234") -> None:
        self.engine = engine
        with engine.begin() as connection:
            statement = insert(table("source")).values(name=name, shape="test", site=site, licence="none stated")
            self.source_id = connection.execute(statement.returning(table("source").c.id)).scalar_one()

    def add(self, table_name: str, **values: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(insert(table(table_name)).values(**values))

    def fetched(self, path: str, kind: str, status: str = "ok", **values: Any) -> None:
        times = {"first_seen": now(), "last_seen": now()}
        defaults = {"rank": 1, "attempts": 1, "due": False, **times}
        self.add("fetch", source_id=self.source_id, path=path, kind=kind, status=status, **{**defaults, **values})

    def fetch_id(self, path: str) -> int:
        with self.engine.connect() as connection:
            return connection.execute(select(table("fetch").c.id).where(table("fetch").c.path == path)).scalar_one()

    def said(self, kind: str, body: dict[str, Any] | str, key: str | None = None) -> None:
        written = body if isinstance(body, str) else json.dumps(body)
        digest = hashlib.sha256(written.encode()).hexdigest()
        key = key or json.loads(written)["key"]
        self.add("raw_record", source_id=self.source_id, kind=kind, key=key, sha256=digest, body=written, seen_at=now())

    def case(self, key: str, *images: dict[str, Any], status: str = "ok", **fields: Any) -> None:
        """A case with its fetch row."""
        self.said("encounter", {"key": key, "images": images, **fields})
        self.fetched(f"/rest/encounter.json?encounterID={key}", "encounter", status)

    def bytes_of(self, key: str, content: str | None = None, status: str = "ok", reason: str | None = None) -> None:
        """The image's fetch row and, unless content is "", its bytes."""
        content = key if content is None else content
        path = f"/images/full/synpic{key}.jpg"
        self.fetched(path, "image", status, reason=reason)
        if not content:
            return
        digest = hashlib.sha256(content.encode()).hexdigest()
        with self.engine.connect() as connection:
            known = connection.execute(
                select(func.count()).select_from(table("image")).where(table("image").c.sha256 == digest)
            ).scalar()
        if not known:
            stored = f"images/{digest[:2]}/{digest[2:4]}/{digest}.jpg"
            size = {"bytes": 10, "width": 4, "height": 4, "mode": "L", "format": "JPEG"}
            self.add("image", sha256=digest, path=stored, **size)
        name = f"synpic{key}"
        self.add(
            "image_ref", source_id=self.source_id, upstream_name=name, path=path, image_sha256=digest, seen_at=now()
        )


def fill(engine: Engine, cases: int = 30, backwards: bool = False, **options: Any) -> Filler:
    """A corpus of plain cases with two images each, and one of everything that can go wrong."""
    filler = Filler(engine, **options)
    filler.said("topic", {"key": "t", "title": "Glioma", "location": "Brain"})
    order = range(cases, 0, -1) if backwards else range(1, cases + 1)
    for number in order:
        case = f"case{number:03}"
        keys = (f"{number}1", f"{number}2")
        captions = (f"Axial CT shows nodule {number} of\n\n the  brain.", "The same mass.")
        listed = [image(key, case, caption) for key, caption in zip(keys, captions, strict=True)]
        filler.case(case, *listed, topic_key="t", diagnosis="Glioma", credit="A. Author")
        for key in keys:
            filler.bytes_of(key)
    _odd(filler)
    return filler


def _odd(filler: Filler) -> None:
    filler.case(
        "odd",
        image("histo", "odd", modality="HE - High Power (>200X)"),
        image("photo", "odd", "Photograph of the skin lesion.", plane="Photograph"),
        image("blank", "odd", " \n"),
        image("dash", "odd", "N/A."),
        image("newmod", "odd", "A mass.", modality="XX - Unheard of"),
        image("newplane", "odd", "CT shows a mass.", plane="Sideways"),
        image("unassigned", "odd", "A mass.", modality="Not Assigned"),
        image("nobytes", "odd"),
        image("failed", "odd"),
        image("hidden", "odd", withheld="hidden"),
        image("left", "odd"),
    )
    for key in ("histo", "photo", "blank", "dash", "newmod", "newplane", "unassigned"):
        filler.bytes_of(key)
    filler.bytes_of("failed", "", "refused", "not_an_image")
    filler.bytes_of("hidden", "", "skipped", "hidden")
    filler.bytes_of("left", status="gone")
    filler.case("vanished", image("v1", "vanished"), status="gone")
    filler.bytes_of("v1")
