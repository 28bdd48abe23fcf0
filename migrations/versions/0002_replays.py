"""replays of dead letters

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from app.utils.ddl import add_column, drop_column

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    add_column("messages", sa.Column("replays", sa.Integer(), server_default="0", nullable=False))
    add_column("messages", sa.Column("replayed_at", MOMENT, nullable=True))


def downgrade() -> None:
    drop_column("messages", "replayed_at")
    drop_column("messages", "replays")
