"""The tables, as SQLModel classes. Names are a public interface (docs/query.md): users write SQL against them."""

import json
from datetime import UTC, datetime
from typing import Any

from pydantic import NaiveDatetime
from sqlalchemy import Column, ForeignKey, Index, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine
from sqlmodel import Field, SQLModel

from corpus_db.text import storable_json


def now() -> datetime:
    """The present time, UTC, without a zone mark: what both engines give back is then what went in."""
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)


QUESTIONS = "questions"  # the shape of a source that brings questions about images, and no pairs


class JSONBody(TypeDecorator[str]):
    """A JSON document: goes in as the text that came, comes out parsed.

    SQLite keeps the text to the letter. PostgreSQL keeps JSONB, which cannot hold NUL or lone surrogates: those become
    visible escapes (`corpus_db.text`).
    """

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(JSONB() if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:
        return storable_json(json.loads(value)) if value is not None and dialect.name == "postgresql" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        return json.loads(value) if isinstance(value, str) else value


class Source(SQLModel, table=True):
    """A corpus that records came from."""

    __tablename__ = "source"
    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    shape: str  # which reader understands its raw records: "medpix"
    site: str | None = None
    licence: str | None = None
    citation: str | None = None


class Crawl(SQLModel, table=True):
    """One pass over a source; `finished` is null while it can be resumed."""

    __tablename__ = "crawl"
    id: int | None = Field(default=None, primary_key=True)
    source_id: int = Field(foreign_key="source.id")
    started: NaiveDatetime
    finished: NaiveDatetime | None = None
    summary: str | None = None  # JSON: what the pass found, as printed


class Fetch(SQLModel, table=True):
    """The ledger: one resource of one source, and how asking for it ended."""

    __tablename__ = "fetch"
    __table_args__ = (
        UniqueConstraint("source_id", "path"),
        Index("fetch_due", "source_id", "rank", "path", sqlite_where=text("due"), postgresql_where=text("due")),
        Index("fetch_status", "status", "reason"),
        Index("fetch_parent", "parent_id"),
    )
    id: int | None = Field(default=None, primary_key=True)
    source_id: int = Field(foreign_key="source.id")
    path: str  # site-relative; an address that leaves the site stands here as it was given
    kind: str  # list, encounter, topic, image; file for an import
    rank: int  # the frontier takes low ranks first
    status: str  # pending, ok, failed, gone, refused, skipped
    http_status: int | None = None
    reason: str | None = None  # a key of reasons.REASONS
    detail: str | None = None  # of a row that an import left out: the field at fault
    attempts: int = 0
    sha256: str | None = None  # of the body last received
    etag: str | None = None
    last_modified: str | None = None
    change: str | None = None  # in the last pass: new, unchanged, changed, gone
    parent_id: int | None = Field(default=None, foreign_key="fetch.id")  # the case that lists this image or topic
    crawl_id: int | None = Field(default=None, foreign_key="crawl.id")  # the pass that last reached it
    due: bool = False  # still to be asked in that pass
    first_seen: NaiveDatetime
    last_seen: NaiveDatetime


class RawRecord(SQLModel, table=True):
    """What a source said, at one time. Append-only: a changed answer is a new row."""

    __tablename__ = "raw_record"
    __table_args__ = (Index("raw_record_key", "source_id", "kind", "key", "id"),)
    id: int | None = Field(default=None, primary_key=True)
    source_id: int = Field(foreign_key="source.id")
    kind: str
    key: str  # the source's id of the case or topic; a list's letter
    sha256: str  # of the bytes as received
    body: Any = Field(sa_column=Column(JSONBody, nullable=False))
    seen_at: NaiveDatetime


class Image(SQLModel, table=True):
    """Distinct image bytes that decode."""

    __tablename__ = "image"
    sha256: str = Field(primary_key=True)
    bytes: int
    width: int  # pixels
    height: int
    mode: str  # Pillow's name: L, RGB, I;16, ...
    format: str  # Pillow's name: JPEG, PNG, ...
    phash: str | None = None  # the perceptual hash, hex digits; equal bytes have one row, so it is computed once
    path: str  # relative to the folder that holds images/
    pixel_sha256: str | None = None  # of the decoded pixels: equal for one picture in two lossless files
    facts: str | None = None  # JSON: what the pixels tell (colour, fan, panels), and which algorithms measured it


class Alike(SQLModel, table=True):
    """One verdict on two images that might be the same: a cache, so that no pair is compared twice."""

    __tablename__ = "alike"
    a_sha256: str = Field(foreign_key="image.sha256", primary_key=True)  # the smaller of the two
    b_sha256: str = Field(foreign_key="image.sha256", primary_key=True, index=True)
    algorithm: int  # dedup.ALGORITHM that judged
    kind: str | None = None  # pixels, near; null where they are two different images
    distance: float | None = None


class ImageRef(SQLModel, table=True):
    """A source's name for an image, at one time; the newest row of a name is the present one."""

    __tablename__ = "image_ref"
    __table_args__ = (Index("image_ref_path", "source_id", "path", "id"), Index("image_ref_name", "upstream_name"))
    id: int | None = Field(default=None, primary_key=True)
    source_id: int = Field(foreign_key="source.id")
    upstream_name: str  # synpic54610
    path: str
    image_sha256: str = Field(foreign_key="image.sha256", index=True)
    seen_at: NaiveDatetime


class Drift(SQLModel, table=True):
    """One thing that a later pass found changed upstream."""

    __tablename__ = "drift"
    id: int | None = Field(default=None, primary_key=True)
    source_id: int = Field(foreign_key="source.id")
    crawl_id: int = Field(foreign_key="crawl.id", index=True)
    path: str  # of the fetch row
    key: str | None = None  # the image or case that changed, in the source's own id
    field: str  # bytes, caption, history, ..., listed, gone
    before: str | None = None
    after: str | None = None


class StudyCase(SQLModel, table=True):
    """A case, study or article, as the last build read it from the raw records."""

    __tablename__ = "study_case"
    id: str = Field(primary_key=True)  # source:upstream_id
    source_id: int = Field(foreign_key="source.id")
    upstream_id: str
    patient_key: str | None = None
    title: str | None = None
    history: str | None = None
    exam: str | None = None
    findings: str | None = None
    impression: str | None = None
    ddx: str | None = None
    diagnosis: str | None = None
    diagnosis_by: str | None = None
    treatment: str | None = None
    discussion: str | None = None
    topic: str | None = None
    location: str | None = None
    age: str | None = None
    sex: str | None = None
    credit: str | None = None
    licence: str | None = None


class Pair(SQLModel, table=True):
    """One image with its caption, kept or dropped, as the last build left it."""

    __tablename__ = "pair"
    __table_args__ = (Index("pair_status", "status", "drop_reason"),)
    id: str = Field(primary_key=True)  # source:upstream_id, with #panel where a figure has panels
    source_id: int = Field(foreign_key="source.id")
    upstream_id: str
    upstream_name: str
    panel: str = ""
    study_case_id: str = Field(foreign_key="study_case.id", index=True)
    image_sha256: str = Field(foreign_key="image.sha256", index=True)
    caption_raw: str | None = None
    caption: str | None = None
    status: str  # kept, dropped
    drop_reason: str | None = None
    drop_detail: str | None = None  # what it was dropped for: the pair it repeats, the evaluation set that holds it
    modality_raw: str | None = None
    modality: str | None = None
    plane_raw: str | None = None
    plane: str | None = None
    region: str | None = None
    laterality: str | None = None
    age: str | None = None
    sex: str | None = None
    acr_code: str | None = None
    figure_part: str | None = None
    credit: str | None = None


class Version(SQLModel, table=True):
    """An immutable snapshot of the kept pairs."""

    __tablename__ = "version"
    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    parent_id: int | None = Field(default=None, foreign_key="version.id")
    manifest_sha256: str = Field(index=True)
    created: NaiveDatetime
    config: str  # JSON


class CurrentVersion(SQLModel, table=True):
    """The version that `rgc` and `caption_fts` show: one row."""

    __tablename__ = "current_version"
    id: int = Field(default=1, primary_key=True)
    version_id: int = Field(foreign_key="version.id")


class VersionPair(SQLModel, table=True):
    """One pair frozen in one version: every column of `rgc`, and the groups that may not be split or confused."""

    __tablename__ = "version_pair"
    __table_args__ = (
        Index("version_pair_name", "upstream_name"),
        # what people count by
        Index("version_pair_labels", "version_id", "modality", "plane", "region", "laterality", "split"),
        Index("version_pair_case", "version_id", "case_id", "modality"),
        Index("version_pair_caption", "version_id", "caption_group"),
        Index("version_pair_cluster", "version_id", "duplicate_cluster"),
        Index("version_pair_version", "version_id"),
    )
    version_id: int = Field(foreign_key="version.id", primary_key=True)
    # no foreign key: a version outlives a pair that a later build no longer finds
    pair_id: str = Field(primary_key=True)
    image_path: str
    sha256: str = Field(index=True)
    caption: str
    modality: str | None = None
    plane: str | None = None
    region: str | None = None
    laterality: str | None = None
    split: str  # train, val, test
    case_id: str
    caption_group: str  # equal for equal captions
    source: str
    source_id: str  # the source's own id of the image
    upstream_name: str
    title: str | None = None
    diagnosis: str | None = None
    credit: str | None = None
    licence: str | None = None
    duplicate_cluster: str  # equal for one image under several names
    patient_key: str | None = None  # source:patient, where the source tells patients apart
    split_group: str | None = None  # all that must share a split: its oldest member's case


class VersionDrop(SQLModel, table=True):
    """One pair that the build of a version left out, and why."""

    __tablename__ = "version_drop"
    version_id: int = Field(foreign_key="version.id", primary_key=True)
    pair_id: str = Field(primary_key=True)
    reason: str
    detail: str | None = None


class VersionTag(SQLModel, table=True):
    """A second name of a version, such as 1.2.0; it never moves."""

    __tablename__ = "version_tag"
    tag: str = Field(primary_key=True)
    version_id: int = Field(foreign_key="version.id", index=True)


class Tombstone(SQLModel, table=True):
    """A pair that was taken down for good: no crawl fetches it and no build makes it again."""

    __tablename__ = "tombstone"
    pair_id: str = Field(primary_key=True)
    image_sha256: str | None = None
    why: str | None = None
    at: NaiveDatetime


class VersionTombstone(SQLModel, table=True):
    """What is left of a frozen row that was taken down: its hash, so that the manifest can still be proved."""

    __tablename__ = "version_tombstone"
    version_id: int = Field(foreign_key="version.id", primary_key=True)
    pair_id: str = Field(primary_key=True)
    row_sha256: str


class Edit(SQLModel, table=True):
    """One change that a cleaning rule made to a caption, in one version's build."""

    __tablename__ = "edit"
    __table_args__ = (
        Index("edit_pair", "pair_id", "version_id"),
        Index("edit_rule", "version_id", "rule", "pair_id"),
    )
    id: int | None = Field(default=None, primary_key=True)
    version_id: int = Field(sa_column=Column(ForeignKey("version.id"), nullable=False))
    pair_id: str
    step: int  # the order of the changes of one caption
    rule: str
    before: str
    after: str


class Label(SQLModel, table=True):
    """One vote for a label of a pair, in one version's build."""

    __tablename__ = "label"
    __table_args__ = (Index("label_pair", "pair_id", "version_id"),)
    id: int | None = Field(default=None, primary_key=True)
    version_id: int = Field(sa_column=Column(ForeignKey("version.id"), nullable=False))
    pair_id: str
    field: str  # modality, plane, region, laterality; sequence, contrast, technique, montage
    value: str
    voter: str  # person, upstream, dicom, text, pixels
    evidence: str  # the words that it was read from
    confidence: float


class Conflict(SQLModel, table=True):
    """Two votes for one label that cannot both hold, in one version's build; `value` is what the pair was given."""

    __tablename__ = "conflict"
    __table_args__ = (Index("conflict_pair", "pair_id", "version_id"),)
    id: int | None = Field(default=None, primary_key=True)
    version_id: int = Field(sa_column=Column(ForeignKey("version.id"), nullable=False))
    pair_id: str
    field: str
    value: str
    voter: str
    evidence: str
    other_value: str
    other_voter: str
    other_evidence: str


class Duplicate(SQLModel, table=True):
    """One member of a cluster of equal or nearly equal images, or of equal captions, in one version's build."""

    __tablename__ = "duplicate"
    __table_args__ = (
        Index("duplicate_pair", "pair_id", "version_id"),
        Index("duplicate_cluster", "version_id", "cluster"),
    )
    id: int | None = Field(default=None, primary_key=True)
    version_id: int = Field(sa_column=Column(ForeignKey("version.id"), nullable=False))
    pair_id: str
    cluster: str  # images: the frozen duplicate_cluster; captions: the caption_group
    kind: str  # how it is like `like_pair_id`: bytes, pixels, near, caption; first for the cluster's oldest member
    distance: float | None = None  # of nearly equal pixels
    like_pair_id: str | None = None


class Verdict(SQLModel, table=True):
    """What a person decided about a pair. Append-only: the newest of a kind counts, and the next build obeys it."""

    __tablename__ = "verdict"
    __table_args__ = (Index("verdict_pair", "pair_id", "id"),)
    id: int | None = Field(default=None, primary_key=True)
    pair_id: str
    decision: str  # keep, drop, relabel, edit, withdraw
    field: str | None = None  # of relabel: modality, plane, region, laterality
    value: str | None = None  # of relabel the label, or none; of edit the caption
    by: str
    at: NaiveDatetime
    why: str | None = None


class CaseEdit(SQLModel, table=True):
    """One change that de-identification made to a case's text, in one version's build."""

    __tablename__ = "case_edit"
    __table_args__ = (Index("case_edit_case", "study_case_id", "version_id"),)
    id: int | None = Field(default=None, primary_key=True)
    version_id: int = Field(sa_column=Column(ForeignKey("version.id"), nullable=False))
    study_case_id: str
    field: str  # history, discussion, ...
    step: int
    rule: str
    before: str
    after: str


class Question(SQLModel, table=True):
    """One question about an image, of an evaluation set."""

    __tablename__ = "question"
    __table_args__ = (UniqueConstraint("source_id", "upstream_id"), Index("question_image", "image_sha256"))
    id: int | None = Field(default=None, primary_key=True)
    source_id: int = Field(foreign_key="source.id")
    upstream_id: str
    image_name: str  # the source's name of the image
    image_sha256: str | None = Field(default=None, foreign_key="image.sha256")  # null where its bytes are not here
    question: str
    answer: str
    answer_type: str | None = None  # closed, open
    question_type: str | None = None
    split: str  # train, val, test
    language: str = "en"
    organ: str | None = None  # of the image, lower case, in the set's own word: chest, abd, brain_tissue
    modality: str | None = None  # of the image, in the set's own word
