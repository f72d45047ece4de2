"""What a question's image shows: its organ and its modality, as the set says."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    for name in ("organ", "modality"):
        op.add_column("question", sa.Column(name, sa.String(), nullable=True))
