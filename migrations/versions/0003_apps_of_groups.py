"""the Dify app of a group

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from app.utils.ddl import add_column, drop_column

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

NAME = sa.String(64).with_variant(
    mysql.VARCHAR(64, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
)


def upgrade() -> None:
    add_column("groups", sa.Column("dify_app", NAME, nullable=True))


def downgrade() -> None:
    drop_column("groups", "dify_app")
