"""The first schema: the ledger, raw records, images, pairs, versions, the view `rgc` and the full-text table."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None

RGC_COLUMNS = (
    *("pair_id", "image_path", "sha256", "caption", "modality", "plane", "region", "laterality", "split", "case_id"),
    *("caption_group", "source", "source_id", "upstream_name", "title", "diagnosis", "credit", "licence"),
)


def upgrade() -> None:
    _ledger()
    _images()
    _cases()
    _pairs()
    _versions()
    _votes()
    _view()
    _full_text()


def _id() -> sa.Column[int]:
    return sa.Column("id", sa.Integer(), primary_key=True, nullable=False)


def _text(name: str, *rest: sa.ForeignKey, **options: Any) -> sa.Column[str]:
    return sa.Column(name, sa.String(), *rest, nullable=options.pop("nullable", False), **options)


def _texts(*names: str) -> list[sa.Column[str]]:
    return [_text(name, nullable=True) for name in names]


def _ref(name: str, target: str, nullable: bool = False, **options: Any) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), sa.ForeignKey(target), nullable=nullable, **options)


def _time(name: str, nullable: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(), nullable=nullable)


def _ledger() -> None:
    op.create_table(
        "source",
        _id(),
        _text("name", unique=True),
        _text("shape"),
        *_texts("site", "licence", "citation"),
    )
    op.create_table(
        "crawl",
        _id(),
        _ref("source_id", "source.id"),
        _time("started"),
        _time("finished", nullable=True),
        *_texts("summary"),
    )
    op.create_table(
        "fetch",
        _id(),
        _ref("source_id", "source.id"),
        _text("path"),
        _text("kind"),
        sa.Column("rank", sa.Integer(), nullable=False),
        _text("status"),
        sa.Column("http_status", sa.Integer(), nullable=True),
        *_texts("reason"),
        sa.Column("attempts", sa.Integer(), nullable=False),
        *_texts("sha256", "etag", "last_modified", "change"),
        _ref("parent_id", "fetch.id", nullable=True),
        _ref("crawl_id", "crawl.id", nullable=True),
        sa.Column("due", sa.Boolean(), nullable=False),
        _time("first_seen"),
        _time("last_seen"),
        sa.UniqueConstraint("source_id", "path"),
    )
    due = sa.text("due")
    op.create_index("fetch_due", "fetch", ["source_id", "rank", "path"], sqlite_where=due, postgresql_where=due)
    op.create_index("fetch_status", "fetch", ["status", "reason"])
    op.create_index("fetch_parent", "fetch", ["parent_id"])
    op.create_table(
        "raw_record",
        _id(),
        _ref("source_id", "source.id"),
        *(_text(name) for name in ("kind", "key", "sha256")),
        sa.Column("body", sa.Text().with_variant(JSONB(), "postgresql"), nullable=False),
        _time("seen_at"),
    )
    op.create_index("raw_record_key", "raw_record", ["source_id", "kind", "key", "id"])
    op.create_table(
        "drift",
        _id(),
        _ref("source_id", "source.id"),
        _ref("crawl_id", "crawl.id"),
        _text("path"),
        *_texts("key"),
        _text("field"),
        *_texts("before", "after"),
    )
    op.create_index("ix_drift_crawl_id", "drift", ["crawl_id"])


def _images() -> None:
    op.create_table(
        "image",
        _text("sha256", primary_key=True),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("bytes", "width", "height")),
        *(_text(name) for name in ("mode", "format")),
        *_texts("phash"),
        _text("path"),
    )
    op.create_table(
        "image_ref",
        _id(),
        _ref("source_id", "source.id"),
        *(_text(name) for name in ("upstream_name", "path")),
        _text("image_sha256", sa.ForeignKey("image.sha256")),
        _time("seen_at"),
    )
    op.create_index("image_ref_path", "image_ref", ["source_id", "path", "id"])
    op.create_index("image_ref_name", "image_ref", ["upstream_name"])
    op.create_index("ix_image_ref_image_sha256", "image_ref", ["image_sha256"])


def _cases() -> None:
    op.create_table(
        "study_case",
        _text("id", primary_key=True),
        _ref("source_id", "source.id"),
        _text("upstream_id"),
        *_texts("patient_key", "title", "history", "exam", "findings", "ddx", "diagnosis", "diagnosis_by", "treatment"),
        *_texts("discussion", "topic", "location", "age", "sex", "credit", "licence"),
    )


def _pairs() -> None:
    op.create_table(
        "pair",
        _text("id", primary_key=True),
        _ref("source_id", "source.id"),
        *(_text(name) for name in ("upstream_id", "upstream_name", "panel")),
        _text("study_case_id", sa.ForeignKey("study_case.id")),
        _text("image_sha256", sa.ForeignKey("image.sha256")),
        *_texts("caption_raw", "caption"),
        _text("status"),
        *_texts("drop_reason", "modality_raw", "modality", "plane_raw", "plane", "region", "laterality"),
        *_texts("age", "sex", "acr_code", "figure_part", "credit"),
    )
    op.create_index("pair_status", "pair", ["status", "drop_reason"])
    op.create_index("ix_pair_study_case_id", "pair", ["study_case_id"])
    op.create_index("ix_pair_image_sha256", "pair", ["image_sha256"])


def _versions() -> None:
    op.create_table(
        "version",
        _id(),
        _text("name", unique=True),
        _ref("parent_id", "version.id", nullable=True),
        _text("manifest_sha256"),
        _time("created"),
        _text("config"),
    )
    op.create_index("ix_version_manifest_sha256", "version", ["manifest_sha256"])
    op.create_table("current_version", _id(), _ref("version_id", "version.id"))
    op.create_table(
        "version_pair",
        _ref("version_id", "version.id", primary_key=True),
        _text("pair_id", primary_key=True),
        *(_text(name) for name in ("image_path", "sha256", "caption")),
        *_texts("modality", "plane", "region", "laterality"),
        *(_text(name) for name in ("split", "case_id", "caption_group", "source", "source_id", "upstream_name")),
        *_texts("title", "diagnosis", "credit", "licence"),
        _text("duplicate_cluster"),
    )
    op.create_index("ix_version_pair_sha256", "version_pair", ["sha256"])


def _votes() -> None:
    op.create_table(
        "edit",
        _id(),
        _ref("version_id", "version.id"),
        _text("pair_id"),
        sa.Column("step", sa.Integer(), nullable=False),
        *(_text(name) for name in ("rule", "before", "after")),
    )
    op.create_index("edit_pair", "edit", ["pair_id", "version_id"])
    op.create_table(
        "label",
        _id(),
        _ref("version_id", "version.id"),
        *(_text(name) for name in ("pair_id", "field", "value", "evidence")),
        sa.Column("confidence", sa.Float(), nullable=False),
    )
    op.create_index("label_pair", "label", ["pair_id", "version_id"])


def _view() -> None:
    columns = ", ".join(f"version_pair.{name}" for name in RGC_COLUMNS)
    op.execute(
        f"CREATE VIEW rgc AS SELECT {columns} FROM version_pair "
        "JOIN current_version ON current_version.version_id = version_pair.version_id"
    )


def _full_text() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("CREATE VIRTUAL TABLE caption_fts USING fts5(pair_id UNINDEXED, caption, tokenize = 'unicode61')")
        return
    # A tsvector holds 1 MB at most; a longer caption must not fail the build, so its tail is not indexed.
    op.execute(
        "CREATE TABLE caption_fts (pair_id varchar PRIMARY KEY, caption text NOT NULL, "
        "tsv tsvector GENERATED ALWAYS AS (to_tsvector('english', left(caption, 100000))) STORED)"
    )
    op.execute("CREATE INDEX caption_fts_tsv ON caption_fts USING gin (tsv)")
