"""when each account was first seen

Revision ID: 0007
Revises: 0005
"""

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from app.utils.ddl import add_column, drop_column

revision = "0007"
down_revision = "0005"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    add_column("accounts", sa.Column("first_seen_at", MOMENT, nullable=True))


def downgrade() -> None:
    drop_column("accounts", "first_seen_at")
