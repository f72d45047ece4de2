"""Curation: duplicates, conflicts, exclusions, questions; versions that tell what they left out and can be purged."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    _columns()
    _images()
    _votes()
    _versions()
    _questions()
    _full_text()


def _id() -> sa.Column[int]:
    return sa.Column("id", sa.Integer(), primary_key=True, nullable=False)


def _text(name: str, *rest: sa.ForeignKey, **options: Any) -> sa.Column[str]:
    return sa.Column(name, sa.String(), *rest, nullable=options.pop("nullable", False), **options)


def _texts(*names: str) -> list[sa.Column[str]]:
    return [_text(name, nullable=True) for name in names]


def _ref(name: str, target: str, **options: Any) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), sa.ForeignKey(target), nullable=False, **options)


def _columns() -> None:
    for table, columns in (
        ("image", _texts("pixel_sha256", "facts")),
        ("pair", _texts("drop_detail")),
        ("version_pair", _texts("patient_key", "split_group")),
        ("label", [_text("voter", server_default="upstream")]),  # all there was before
    ):
        for column in columns:
            op.add_column(table, column)


def _images() -> None:
    op.create_table(
        "alike",
        *(_text(name, sa.ForeignKey("image.sha256"), primary_key=True) for name in ("a_sha256", "b_sha256")),
        sa.Column("algorithm", sa.Integer(), nullable=False),
        *_texts("kind"),
        sa.Column("distance", sa.Float(), nullable=True),
    )
    op.create_index("ix_alike_b_sha256", "alike", ["b_sha256"])


def _votes() -> None:
    op.create_index("edit_rule", "edit", ["version_id", "rule", "pair_id"])
    votes = ("field", "value", "voter", "evidence", "other_value", "other_voter", "other_evidence")
    op.create_table("conflict", _id(), _ref("version_id", "version.id"), _text("pair_id"), *map(_text, votes))
    op.create_index("conflict_pair", "conflict", ["pair_id", "version_id"])
    op.create_table(
        "duplicate",
        _id(),
        _ref("version_id", "version.id"),
        *(_text(name) for name in ("pair_id", "cluster", "kind")),
        sa.Column("distance", sa.Float(), nullable=True),
        *_texts("like_pair_id"),
    )
    op.create_index("duplicate_pair", "duplicate", ["pair_id", "version_id"])
    op.create_index("duplicate_cluster", "duplicate", ["version_id", "cluster"])
    op.create_table(
        "case_edit",
        _id(),
        _ref("version_id", "version.id"),
        *(_text(name) for name in ("study_case_id", "field")),
        sa.Column("step", sa.Integer(), nullable=False),
        *(_text(name) for name in ("rule", "before", "after")),
    )
    op.create_index("case_edit_case", "case_edit", ["study_case_id", "version_id"])


def _frozen_key() -> list[sa.Column[Any]]:
    return [_ref("version_id", "version.id", primary_key=True), _text("pair_id", primary_key=True)]


def _versions() -> None:
    op.create_table("version_drop", *_frozen_key(), _text("reason"), *_texts("detail"))
    op.create_table("version_tombstone", *_frozen_key(), _text("row_sha256"))
    op.create_table("version_tag", _text("tag", primary_key=True), _ref("version_id", "version.id"))
    op.create_index("version_pair_name", "version_pair", ["upstream_name"])
    for index, columns in (
        ("labels", ["modality", "plane", "region", "laterality", "split"]),
        ("case", ["case_id", "modality"]),
        ("caption", ["caption_group"]),
        ("cluster", ["duplicate_cluster"]),
        ("version", []),  # the last, so that SQLite takes it where a whole version is read: its rows lie in this order
    ):
        op.create_index(f"version_pair_{index}", "version_pair", ["version_id", *columns])
    op.create_index("ix_version_tag_version_id", "version_tag", ["version_id"])
    op.create_table(
        "tombstone",
        _text("pair_id", primary_key=True),
        *_texts("image_sha256", "why"),
        sa.Column("at", sa.DateTime(), nullable=False),
    )


def _questions() -> None:
    op.create_table(
        "question",
        _id(),
        _ref("source_id", "source.id"),
        *(_text(name) for name in ("upstream_id", "image_name")),
        _text("image_sha256", sa.ForeignKey("image.sha256"), nullable=True),
        *(_text(name) for name in ("question", "answer")),
        *_texts("answer_type", "question_type"),
        *(_text(name) for name in ("split", "language")),
        sa.UniqueConstraint("source_id", "upstream_id"),
    )
    op.create_index("question_image", "question", ["image_sha256"])


def _full_text() -> None:
    """Let a tsvector hold the words that FTS5's unicode61 finds: no stems, no compounds, no diacritics."""
    if op.get_bind().dialect.name == "sqlite":
        return
    plain = r"regexp_replace(normalize(left(caption, 100000), NFD), '[\u0300-\u036f]', '', 'g')"
    # ASCII but letters and digits; Latin-1's, general and CJK punctuation; currency, arrows, mathematics, symbols
    marks = r"[\u0001-/:-@\[-`{-\u00a9\u00ab-\u00b1\u00b4\u00b6-\u00b8\u00bb\u00bf\u00d7\u00f7" + (
        r"\u2000-\u206f\u20a0-\u20cf\u2190-\u245f\u2500-\u2bff\u3000-\u3004\u3008-\u3020\U0001f000-\U0001faff]+"
    )
    op.execute("ALTER TABLE caption_fts DROP COLUMN tsv")
    op.execute(
        "ALTER TABLE caption_fts ADD COLUMN tsv tsvector "
        f"GENERATED ALWAYS AS (to_tsvector('simple', regexp_replace({plain}, '{marks}', ' ', 'g'))) STORED"
    )
    op.execute("CREATE INDEX caption_fts_tsv ON caption_fts USING gin (tsv)")
