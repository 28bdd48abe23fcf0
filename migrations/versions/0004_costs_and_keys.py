"""what an answer cost, under which key a conversation is known, plain text of a group

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from app.utils.ddl import add_column, drop_column

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

DIGEST = sa.String(16).with_variant(
    mysql.VARCHAR(16, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
)


def upgrade() -> None:
    add_column("messages", sa.Column("prompt_tokens", sa.BigInteger(), nullable=True))
    add_column("messages", sa.Column("completion_tokens", sa.BigInteger(), nullable=True))
    add_column("messages", sa.Column("model_seconds", sa.Float(), nullable=True))
    add_column("sessions", sa.Column("key_digest", DIGEST, server_default="", nullable=False))
    add_column("groups", sa.Column("plain_text", sa.Boolean(), nullable=True))


def downgrade() -> None:
    drop_column("groups", "plain_text")
    drop_column("sessions", "key_digest")
    drop_column("messages", "model_seconds")
    drop_column("messages", "completion_tokens")
    drop_column("messages", "prompt_tokens")
