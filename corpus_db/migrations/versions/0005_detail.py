"""Imports: which field of a row was at fault."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("fetch", sa.Column("detail", sa.String(), nullable=True))
