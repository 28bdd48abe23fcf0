"""operators may be disabled, sessions end when idle, audit says from where; messages of a group by index

Revision ID: 0010
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from app.utils.ddl import add_column, drop_column, make_index

revision = "0010"
down_revision = "0007"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
ADDRESS = sa.String(64).with_variant(
    mysql.VARCHAR(64, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
)


def upgrade() -> None:
    add_column("operators", sa.Column("disabled_at", MOMENT, nullable=True))
    add_column("console_sessions", sa.Column("seen_at", MOMENT, nullable=True))
    add_column("audit_log", sa.Column("address", ADDRESS, server_default="", nullable=False))
    make_index("ix_messages_group_id_id", "messages", ["group_id", "id"])


def downgrade() -> None:
    indexes = sa.inspect(op.get_bind()).get_indexes("messages")
    if "ix_messages_group_id_id" in {index["name"] for index in indexes}:
        op.drop_index("ix_messages_group_id_id", "messages")
    drop_column("audit_log", "address")
    drop_column("console_sessions", "seen_at")
    drop_column("operators", "disabled_at")
