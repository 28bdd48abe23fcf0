"""segments that are taken back: since when that is wanted, and when the gateway was asked

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from app.utils.ddl import add_column, drop_column

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
COLUMNS = ("recall_wanted_at", "recall_called_at")


def upgrade() -> None:
    for name in COLUMNS:
        add_column("segments", sa.Column(name, MOMENT, nullable=True))


def downgrade() -> None:
    for name in reversed(COLUMNS):
        drop_column("segments", name)
