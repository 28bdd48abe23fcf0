"""pauses of operators; groups that are muted for a while

Revision ID: 0014
Revises: 0013
"""

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from app.utils.ddl import add_column, drop_column, drop_table, make_index, make_table

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

BIG_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
OPTIONS = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_unicode_ci",
    "mysql_row_format": "DYNAMIC",
}


def exact(length: int) -> sa.types.TypeEngine[str]:
    """Compared byte for byte."""
    binary = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return sa.String(length).with_variant(binary, "mysql", "mariadb")


def upgrade() -> None:
    make_table(
        "pauses",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("kind", exact(16), nullable=False),
        sa.Column("subject", exact(128), server_default="", nullable=False),
        sa.Column("began_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("operator", exact(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_pauses"),
        **OPTIONS,
    )
    make_index("ix_pauses_ended_at", "pauses", ["ended_at"])
    add_column("groups", sa.Column("muted_until", MOMENT, nullable=True))
    add_column("sessions", sa.Column("reset_at", MOMENT, nullable=True))


def downgrade() -> None:
    drop_column("sessions", "reset_at")
    drop_column("groups", "muted_until")
    drop_table("pauses")
