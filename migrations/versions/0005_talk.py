"""what a group reads behind an answer

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from app.utils.ddl import add_column, drop_column, drop_index, drop_table, make_index, make_table

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BIG_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
LONG_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
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
    add_column("groups", sa.Column("citations", sa.Boolean(), nullable=True))
    add_column("groups", sa.Column("suggestions", sa.Boolean(), nullable=True))
    add_column("messages", sa.Column("rating", exact(8), server_default="", nullable=False))
    add_column("messages", sa.Column("quoted_id", exact(32), server_default="", nullable=False))
    make_index("ix_segments_new_msg_id", "segments", ["new_msg_id"])
    make_table(
        "suggestions",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("bot_wc_id", exact(128), nullable=False),
        sa.Column("group_id", exact(128), nullable=False),
        sa.Column("from_user", exact(128), nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("questions", sa.JSON(), nullable=False),
        sa.Column("offered_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_suggestions")),
        sa.UniqueConstraint(
            "bot_wc_id", "group_id", "from_user", name=op.f("uq_suggestions_bot_wc_id_group_id_from_user")
        ),
        **OPTIONS,
    )
    make_index("ix_suggestions_message_id", "suggestions", ["message_id"])

    make_table(
        "pending_forms",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("app", exact(64), nullable=False),
        sa.Column("bot_wc_id", exact(128), nullable=False),
        sa.Column("group_id", exact(128), nullable=False),
        sa.Column("from_user", exact(128), nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("key_digest", exact(16), nullable=False),
        sa.Column("token", sa.String(255), nullable=False),
        sa.Column("dify_conversation_id", exact(64), nullable=False),
        sa.Column("dify_message_id", exact(64), nullable=False),
        sa.Column("dify_task_id", exact(64), nullable=False),
        sa.Column("dify_run_id", exact(64), nullable=False),
        sa.Column("form", sa.JSON(), nullable=False),
        sa.Column("said", LONG_TEXT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=True),
        sa.Column("offered_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pending_forms")),
        sa.UniqueConstraint(
            "app",
            "bot_wc_id",
            "group_id",
            "from_user",
            name=op.f("uq_pending_forms_app_bot_wc_id_group_id_from_user"),
        ),
        **OPTIONS,
    )
    make_index("ix_pending_forms_message_id", "pending_forms", ["message_id"])


def downgrade() -> None:
    drop_table("pending_forms")
    drop_table("suggestions")
    drop_index("ix_segments_new_msg_id", "segments")
    drop_column("messages", "quoted_id")
    drop_column("messages", "rating")
    drop_column("groups", "suggestions")
    drop_column("groups", "citations")
