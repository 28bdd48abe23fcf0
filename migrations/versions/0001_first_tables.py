"""first tables

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from app.utils.ddl import make_index, make_table

revision = "0001"
down_revision = None
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
    make_table(
        "accounts",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("wc_id", exact(128), nullable=False),
        sa.Column("w_id", exact(128), nullable=False),
        sa.Column("w_id_time", sa.BigInteger(), nullable=False),
        sa.Column("w_id_source", exact(16), nullable=False),
        sa.Column("refused_w_id", exact(128), nullable=False),
        sa.Column("state", exact(16), nullable=False),
        sa.Column("since", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("wc_id", name=op.f("uq_accounts_wc_id")),
        **OPTIONS,
    )
    make_table(
        "audit_log",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("operator", exact(64), nullable=False),
        sa.Column("action", exact(64), nullable=False),
        sa.Column("subject", exact(255), nullable=False),
        sa.Column("before", LONG_TEXT, nullable=True),
        sa.Column("after", LONG_TEXT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
        **OPTIONS,
    )
    make_index("ix_audit_log_at", "audit_log", ["at"])

    make_table(
        "console_sessions",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("digest", exact(64), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_console_sessions")),
        sa.UniqueConstraint("digest", name=op.f("uq_console_sessions_digest")),
        **OPTIONS,
    )
    make_table(
        "contacts",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("wc_id", exact(128), nullable=False),
        sa.Column("nick_name", sa.String(length=255), nullable=False),
        sa.Column("user_name", exact(128), nullable=False),
        sa.Column("remark", sa.String(length=255), nullable=False),
        sa.Column("alias", sa.String(length=128), nullable=False),
        sa.Column("signature", sa.String(length=512), nullable=False),
        sa.Column("sex", sa.Integer(), nullable=False),
        sa.Column("country", sa.String(length=64), nullable=False),
        sa.Column("province", sa.String(length=64), nullable=False),
        sa.Column("city", sa.String(length=64), nullable=False),
        sa.Column("big_avatar", sa.String(length=1024), nullable=False),
        sa.Column("small_avatar", sa.String(length=1024), nullable=False),
        sa.Column("labels", sa.String(length=255), nullable=False),
        sa.Column("v1", sa.String(length=512), nullable=False),
        sa.Column("kind", exact(8), nullable=False),
        sa.Column("raw", sa.JSON(), nullable=True),
        sa.Column("bot_wc_id", exact(128), nullable=False),
        sa.Column("group_id", exact(128), nullable=False),
        sa.Column("fetched_at", MOMENT, nullable=True),
        sa.Column("next_fetch_at", MOMENT, nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("error", LONG_TEXT, nullable=False),
        sa.Column("seen_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contacts")),
        sa.UniqueConstraint("wc_id", name=op.f("uq_contacts_wc_id")),
        **OPTIONS,
    )
    make_index("ix_contacts_next_fetch_at", "contacts", ["next_fetch_at"])

    make_table(
        "conversations",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("from_user", exact(128), nullable=False),
        sa.Column("conversation_id", exact(64), server_default="", nullable=False),
        sa.Column("group", exact(128), nullable=False),
        sa.Column("hour", exact(11), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("is_processed", sa.Boolean(), nullable=False),
        sa.Column("is_sent", sa.Boolean(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conversations")),
        sa.UniqueConstraint(
            "from_user",
            "conversation_id",
            "group",
            "hour",
            name=op.f("uq_conversations_from_user_conversation_id_group_hour"),
        ),
        **OPTIONS,
    )
    make_table(
        "group_members",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("group_id", exact(128), nullable=False),
        sa.Column("wc_id", exact(128), nullable=False),
        sa.Column("display_name", sa.String(length=255), nullable=False),
        sa.Column("nick_name", sa.String(length=255), nullable=False),
        sa.Column("small_avatar", sa.String(length=1024), nullable=False),
        sa.Column("fetched_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_group_members")),
        sa.UniqueConstraint("group_id", "wc_id", name=op.f("uq_group_members_group_id_wc_id")),
        **OPTIONS,
    )
    make_table(
        "groups",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("bot_wc_id", exact(128), nullable=False),
        sa.Column("group_id", exact(128), nullable=False),
        sa.Column("is_enabled", sa.Boolean(), nullable=True),
        sa.Column("trigger", exact(16), nullable=True),
        sa.Column("prefixes", sa.JSON(), nullable=True),
        sa.Column("keywords", sa.JSON(), nullable=True),
        sa.Column("pattern", sa.String(length=1000), nullable=True),
        sa.Column("mention_sender", sa.Boolean(), nullable=True),
        sa.Column("first_seen_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_groups")),
        sa.UniqueConstraint("bot_wc_id", "group_id", name=op.f("uq_groups_bot_wc_id_group_id")),
        **OPTIONS,
    )
    make_table(
        "messages",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("bot_wc_id", exact(128), nullable=False),
        sa.Column("dedupe_key", exact(191), nullable=False),
        sa.Column("deliveries", sa.Integer(), nullable=False),
        sa.Column("account", exact(64), nullable=False),
        sa.Column("w_id", exact(128), nullable=False),
        sa.Column("message_type", exact(16), nullable=False),
        sa.Column("from_user", exact(128), nullable=False),
        sa.Column("group_id", exact(128), nullable=False),
        sa.Column("msg_id", exact(32), nullable=False),
        sa.Column("new_msg_id", exact(32), nullable=False),
        sa.Column("gateway_time", sa.BigInteger(), nullable=False),
        sa.Column("sender_name", sa.String(length=255), nullable=False),
        sa.Column("text", LONG_TEXT, nullable=True),
        sa.Column("question", LONG_TEXT, nullable=True),
        sa.Column("raw", LONG_TEXT, nullable=True),
        sa.Column("text_digest", exact(64), nullable=True),
        sa.Column("state", exact(16), nullable=False),
        sa.Column("verdict", exact(40), nullable=False),
        sa.Column("detail", sa.String(length=500), nullable=False),
        sa.Column("error", sa.String(length=500), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("crashes", sa.Integer(), nullable=False),
        sa.Column("sole_crashes", sa.Integer(), nullable=False),
        sa.Column("runs_alone", sa.Boolean(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("queued_epoch", exact(64), nullable=True),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.Column("queued_at", MOMENT, nullable=True),
        sa.Column("claimed_at", MOMENT, nullable=True),
        sa.Column("asked_at", MOMENT, nullable=True),
        sa.Column("first_text_at", MOMENT, nullable=True),
        sa.Column("answered_at", MOMENT, nullable=True),
        sa.Column("done_at", MOMENT, nullable=True),
        sa.Column("dify_app", exact(64), nullable=False),
        sa.Column("dify_conversation_id", exact(64), nullable=False),
        sa.Column("dify_message_id", exact(64), nullable=False),
        sa.Column("dify_task_id", exact(64), nullable=False),
        sa.Column("dify_run_id", exact(64), nullable=False),
        sa.Column("total_tokens", sa.BigInteger(), nullable=True),
        sa.Column("total_price", exact(32), nullable=False),
        sa.Column("currency", exact(8), nullable=False),
        sa.Column("is_cut_short", sa.Boolean(), nullable=False),
        sa.Column("journal_id", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
        sa.UniqueConstraint(
            "bot_wc_id", "dedupe_key", name=op.f("uq_messages_bot_wc_id_dedupe_key")
        ),
        **OPTIONS,
    )
    make_index("ix_messages_from_user_state_id", "messages", ["from_user", "state", "id"])
    make_index("ix_messages_journal_id", "messages", ["journal_id"])
    make_index("ix_messages_state_id", "messages", ["state", "id"])
    make_index("ix_messages_text_digest", "messages", ["text_digest"])

    make_table(
        "operators",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("name", exact(64), nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=False),
        sa.Column("role", exact(16), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operators")),
        sa.UniqueConstraint("name", name=op.f("uq_operators_name")),
        **OPTIONS,
    )
    make_table(
        "segments",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("bot_wc_id", exact(128), nullable=False),
        sa.Column("group_id", exact(128), nullable=False),
        sa.Column("kind", exact(8), nullable=False),
        sa.Column("content", LONG_TEXT, nullable=False),
        sa.Column("mention", exact(128), nullable=False),
        sa.Column("text_digest", exact(64), nullable=False),
        sa.Column("state", exact(16), nullable=False),
        sa.Column("sender", exact(64), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("error", sa.String(length=500), nullable=False),
        sa.Column("msg_id", exact(32), nullable=False),
        sa.Column("new_msg_id", exact(32), nullable=False),
        sa.Column("created_time", sa.BigInteger(), nullable=False),
        sa.Column("planned_at", MOMENT, nullable=False),
        sa.Column("sending_at", MOMENT, nullable=True),
        sa.Column("sent_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_segments")),
        sa.UniqueConstraint("message_id", "seq", name=op.f("uq_segments_message_id_seq")),
        **OPTIONS,
    )
    make_index("ix_segments_bot_wc_id_sending_at", "segments", ["bot_wc_id", "sending_at"])
    make_index("ix_segments_state_bot_wc_id_id", "segments", ["state", "bot_wc_id", "id"])

    make_table(
        "sessions",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("app", exact(64), nullable=False),
        sa.Column("bot_wc_id", exact(128), nullable=False),
        sa.Column("group_id", exact(128), nullable=False),
        sa.Column("from_user", exact(128), nullable=False),
        sa.Column("conversation_id", exact(64), nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        sa.UniqueConstraint(
            "app",
            "bot_wc_id",
            "group_id",
            "from_user",
            name=op.f("uq_sessions_app_bot_wc_id_group_id_from_user"),
        ),
        **OPTIONS,
    )
    make_table(
        "setting_overrides",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("name", exact(128), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.Column("changed_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_setting_overrides")),
        sa.UniqueConstraint("name", name=op.f("uq_setting_overrides_name")),
        **OPTIONS,
    )
    make_table(
        "stats_minutes",
        sa.Column("minute", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name", exact(96), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("minute", "name", name=op.f("pk_stats_minutes")),
        **OPTIONS,
    )


def downgrade() -> None:
    for name in (
        "stats_minutes",
        "setting_overrides",
        "sessions",
        "segments",
        "operators",
        "messages",
        "groups",
        "group_members",
        "conversations",
        "contacts",
        "console_sessions",
        "audit_log",
        "accounts",
    ):
        op.drop_table(name, if_exists=True)
