"""Imports: the impression of a report."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("study_case", sa.Column("impression", sa.String(), nullable=True))
