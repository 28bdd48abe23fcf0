"""causes of failures are counted out of an index

Revision ID: 0016
Revises: 0013
"""

from app.utils.ddl import drop_index, make_index

revision = "0016"
down_revision = "0013"
branch_labels = None
depends_on = None

OLD, NEW = "ix_messages_state_id", "ix_messages_state_id_verdict"


def upgrade() -> None:
    # First the new one: without any a million rows would be read for what waits.
    make_index(NEW, "messages", ["state", "id", "verdict"])
    drop_index(OLD, "messages")


def downgrade() -> None:
    make_index(OLD, "messages", ["state", "id"])
    drop_index(NEW, "messages")
