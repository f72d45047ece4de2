"""Reviews: what persons decided about pairs."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "verdict",
        sa.Column("id", sa.Integer(), primary_key=True, nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("pair_id", "decision")),
        *(sa.Column(name, sa.String(), nullable=True) for name in ("field", "value")),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("why", sa.String(), nullable=True),
    )
    op.create_index("verdict_pair", "verdict", ["pair_id", "id"])
