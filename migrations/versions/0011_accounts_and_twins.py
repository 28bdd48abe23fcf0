"""which gateway login lists an account

Revision ID: 0011
Revises: 0004
"""

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from app.utils.ddl import add_column, drop_column

revision = "0011"
down_revision = "0004"
branch_labels = None
depends_on = None


def exact(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(
        mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
    )


def upgrade() -> None:
    add_column("accounts", sa.Column("gateway", exact(64), server_default="", nullable=False))


def downgrade() -> None:
    drop_column("accounts", "gateway")
