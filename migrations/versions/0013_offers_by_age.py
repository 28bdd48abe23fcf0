"""suggestions and forms by their own age

Revision ID: 0013
Revises: 0012
"""

from app.utils.ddl import drop_index, make_index

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

TABLES = ("suggestions", "pending_forms")


def upgrade() -> None:
    for table in TABLES:
        make_index(f"ix_{table}_offered_at", table, ["offered_at"])


def downgrade() -> None:
    for table in reversed(TABLES):
        drop_index(f"ix_{table}_offered_at", table)
