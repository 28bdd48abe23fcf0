"""Every table, imported once, so that Alembic and tests see the whole schema."""

from app.models.account import Account, Group
from app.models.base import Base
from app.models.console import AuditEntry, ConsoleSession, Operator, SettingOverride, StatsMinute
from app.models.contact import Contact, GroupMember
from app.models.conversation import Conversation, Session
from app.models.message import Message
from app.models.pause import Pause
from app.models.pending_form import PendingFormRow
from app.models.segment import SegmentRow
from app.models.suggestion import Suggestion

__all__ = [
    "Account",
    "AuditEntry",
    "Base",
    "ConsoleSession",
    "Contact",
    "Conversation",
    "Group",
    "GroupMember",
    "Message",
    "Operator",
    "Pause",
    "PendingFormRow",
    "SegmentRow",
    "Session",
    "SettingOverride",
    "StatsMinute",
    "Suggestion",
]
