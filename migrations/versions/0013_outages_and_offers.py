"""the last outage of an account; suggestions and forms by their own age

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from app.utils.ddl import add_column, drop_column, drop_index, make_index

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
COLUMNS = ("outage_began_at", "outage_ended_at")
TABLES = ("suggestions", "pending_forms")


def upgrade() -> None:
    for name in COLUMNS:
        add_column("accounts", sa.Column(name, MOMENT, nullable=True))
    for table in TABLES:
        make_index(f"ix_{table}_offered_at", table, ["offered_at"])


def downgrade() -> None:
    for table in reversed(TABLES):
        drop_index(f"ix_{table}_offered_at", table)
    for name in reversed(COLUMNS):
        drop_column("accounts", name)
