"""which gateway login lists an account; copies of one message that came through several accounts

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from app.utils.ddl import add_column, drop_column, drop_index, make_index

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

UNIQUE = (["twin_id"], ["twin_text", "twin_no"], ["twin_of", "bot_wc_id"])


def exact(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(
        mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
    )


def upgrade() -> None:
    add_column("accounts", sa.Column("gateway", exact(64), server_default="", nullable=False))
    add_column("messages", sa.Column("twin_id", exact(32), nullable=True))
    add_column("messages", sa.Column("twin_text", exact(32), nullable=True))
    add_column("messages", sa.Column("twin_no", sa.Integer(), nullable=True))
    add_column("messages", sa.Column("twin_of", sa.BigInteger(), nullable=True))
    for columns in UNIQUE:
        make_index(f"uq_messages_{'_'.join(columns)}", "messages", columns, unique=True)


def downgrade() -> None:
    for columns in UNIQUE:
        drop_index(f"uq_messages_{'_'.join(columns)}", "messages")
    for name in ("twin_of", "twin_no", "twin_text", "twin_id"):
        drop_column("messages", name)
    drop_column("accounts", "gateway")
