"""what a group reads behind an answer

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa

from app.utils.ddl import add_column, drop_column

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    add_column("groups", sa.Column("citations", sa.Boolean(), nullable=True))


def downgrade() -> None:
    drop_column("groups", "citations")
