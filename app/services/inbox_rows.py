"""Rows of the inbox: made of a decision, to a line of the spill file and back. Pure."""

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from app.models.flow import (
    Command,
    Decision,
    Feedback,
    Ignored,
    IgnoreReason,
    MemberFile,
    MessageId,
    Origin,
    Question,
    RefuseReason,
)
from app.models.message import Message, MessageState
from app.services.text import text_digest
from app.services.twin_rows import NO_CLAIM, claim_columns, yield_columns
from app.services.twins import Claimed, TwinKeys, Yielded, twin_keys

#: Reasons whose raw callback explains something to an operator or a developer.
KEEP_RAW = frozenset(
    {
        IgnoreReason.BAD_JSON,
        IgnoreReason.BAD_SHAPE,
        IgnoreReason.TOO_LARGE,
        IgnoreReason.UNKNOWN_TYPE,
        IgnoreReason.NO_SENDER,
    }
)
#: Reasons whose callbacks carry an id that a second delivery repeats.
DEDUPLICATED = frozenset(
    {
        IgnoreReason.OWN_MESSAGE,
        IgnoreReason.UNSUPPORTED_TYPE,
        IgnoreReason.ATTACHMENT,
        IgnoreReason.NOT_GROUP,
        IgnoreReason.NO_TEXT,
        IgnoreReason.NOT_MENTIONED,
        IgnoreReason.NO_PREFIX,
        IgnoreReason.NO_KEYWORD,
        IgnoreReason.NO_MATCH,
        IgnoreReason.TOO_OLD,
        IgnoreReason.GROUP_OFF,
        IgnoreReason.MUTED,
        IgnoreReason.OTHER_ACCOUNT,
        IgnoreReason.FEEDBACK,
        IgnoreReason.COMMAND,
        IgnoreReason.NO_SENDER,
        IgnoreReason.RECALL,
        IgnoreReason.PAT,
    }
)
RAW_BYTES = 65_536
FIRST_BYTES_OF_TOO_LARGE = 4_096


@dataclass(frozen=True, kw_only=True, slots=True)
class InboxRow:
    """One callback as a row, before any store has it."""

    message_id: MessageId
    bot_wc_id: str
    dedupe_key: str
    from_user: str
    is_question: bool
    columns: dict[str, Any]

    def with_id(self, message_id: MessageId) -> "InboxRow":
        """The same row under another id: the first one was taken."""
        return replace(self, message_id=message_id, columns={**self.columns, "id": message_id})

    def escaped(self) -> "InboxRow":
        """The same row in a shape that every database takes: ASCII, each text cut to its column."""
        columns = {name: _escaped(name, value) for name, value in self.columns.items()}
        return replace(
            self,
            bot_wc_id=columns["bot_wc_id"],
            dedupe_key=columns["dedupe_key"],
            from_user=columns["from_user"],
            columns=columns,
        )

    def refused(self, reason: RefuseReason) -> "InboxRow":
        """The same row with its outcome: there is no room for it."""
        done_at = self.columns["received_at"]
        outcome = {"state": MessageState.REFUSED, "verdict": reason, "done_at": done_at}
        # Another copy may be answered: this one claims nothing.
        columns = {**self.columns, **outcome, **NO_CLAIM}
        return replace(self, is_question=False, columns=columns)

    @property
    def twin_keys(self) -> TwinKeys:
        """What another copy of the message would have, too."""
        return TwinKeys(self.columns["twin_id"], self.columns["twin_text"])

    def settled(self, outcome: Claimed | Yielded) -> "InboxRow":
        """The same row as the one of its copies that is answered, or as another one."""
        if isinstance(outcome, Claimed):
            return replace(self, columns={**self.columns, **claim_columns(outcome)})
        columns = {**self.columns, **yield_columns(self.twin_keys, outcome)}
        return replace(self, is_question=False, columns=columns)

    def to_record(self) -> dict[str, Any]:
        """As a line of the spill file; ids as text, times as ISO 8601."""
        times = {name: _text_of(self.columns[name]) for name in _TIMES}
        return {**self.columns, "id": str(self.message_id), **times}


_TIMES = ("received_at", "done_at")


def _text_of(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _moment_of(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _escaped(column: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    length = getattr(Message.__table__.c[column].type, "length", None)
    return value.encode("ascii", "backslashreplace").decode()[:length]


def row_from_record(record: dict[str, Any]) -> InboxRow:
    """
    A line of the spill file as a row.

    Raises:
        KeyError, ValueError, TypeError: the line is not one of ours.
    """
    message_id = MessageId(int(record["id"]))
    if unknown := record.keys() - Message.__table__.c.keys():
        raise KeyError(*unknown)
    columns = {
        # Former versions wrote none of these.
        **_first_claim(record),
        **_NO_FEEDBACK,
        **record,
        "id": message_id,
        "received_at": datetime.fromisoformat(record["received_at"]),
        # Former versions wrote none.
        "done_at": _moment_of(record.get("done_at")),
    }
    return InboxRow(
        message_id=message_id,
        bot_wc_id=record["bot_wc_id"],
        dedupe_key=record["dedupe_key"],
        from_user=record["from_user"],
        is_question=record["state"] == MessageState.RECEIVED,
        columns=columns,
    )


def make_row(
    decision: Decision,
    raw: bytes,
    *,
    message_id: MessageId,
    received_at: datetime,
    keep_ignored_text: bool,
) -> InboxRow:
    """The row of one callback. Ignored ones keep ids and reason; text only if a setting says so."""
    if isinstance(decision, Question):
        origin = decision.message.origin
        key = origin.dedupe_key
        own = _question_columns(decision, raw)
    else:
        origin = decision.origin
        key = origin.dedupe_key if decision.reason in DEDUPLICATED else ""
        own = (
            _told_columns(decision)
            if isinstance(decision, Feedback | Command)
            else _ignored_columns(decision, raw, keep_text=keep_ignored_text)
        )
    # A key of our own never meets another one: such callbacks are never deduplicated.
    dedupe_key = key or f"#{message_id}"
    columns = {
        "id": message_id,
        "dedupe_key": dedupe_key,
        "received_at": received_at.astimezone(UTC),
        "done_at": None,
        **_NO_FEEDBACK,
        **_origin_columns(origin),
        **own,
    }
    columns |= _first_claim(columns)
    return InboxRow(
        message_id=message_id,
        bot_wc_id=origin.bot_wc_id,
        dedupe_key=dedupe_key,
        from_user=origin.from_user,
        is_question=isinstance(decision, Question),
        columns=columns,
    )


def _first_claim(columns: dict[str, Any]) -> dict[str, Any]:
    """What a question claims as long as no other copy of it is known."""
    if columns["state"] != MessageState.RECEIVED:
        return dict(NO_CLAIM)
    keys = twin_keys(columns)
    return claim_columns(Claimed(keys, None if keys.by_text is None else 0))


#: Every row has these columns, so that many are one statement.
_NO_FEEDBACK = {"rating": "", "quoted_id": ""}


def _told_columns(told: Feedback | Command) -> dict[str, Any]:
    is_feedback = isinstance(told, Feedback)
    return {
        "state": MessageState.RATING if is_feedback else MessageState.COMMAND,
        "verdict": told.reason,
        "detail": "",
        "sender_name": "",
        "text": None,
        "question": None,
        "raw": None,
        "text_digest": None,
        "rating": told.rating if isinstance(told, Feedback) else "",
        "quoted_id": told.quoted_id[:32],
    }


def _origin_columns(origin: Origin) -> dict[str, Any]:
    return {
        "bot_wc_id": origin.bot_wc_id,
        "account": origin.account[:64],
        "w_id": origin.w_id[:128],
        "message_type": origin.message_type[:16],
        "from_user": origin.from_user,
        "group_id": origin.group_id,
        "msg_id": origin.msg_id[:32],
        "new_msg_id": origin.new_msg_id[:32],
        "gateway_time": origin.timestamp,
    }


def _question_columns(question: Question, raw: bytes) -> dict[str, Any]:
    return {
        "state": MessageState.RECEIVED,
        "verdict": "",
        "detail": "",
        "sender_name": question.message.sender_name[:255],
        "text": question.message.text,
        "question": question.text or None,
        "raw": _readable(raw[:RAW_BYTES]),
        "text_digest": None,
    }


def _ignored_columns(ignored: Ignored, raw: bytes, *, keep_text: bool) -> dict[str, Any]:
    if ignored.question is not None:
        left = {"state": MessageState.LEFT, "verdict": ignored.reason, "detail": ignored.detail}
        return {**_question_columns(ignored.question, raw), **left}
    limit = FIRST_BYTES_OF_TOO_LARGE if ignored.reason is IgnoreReason.TOO_LARGE else RAW_BYTES
    waiting = file_text(ignored.file) if ignored.reason is IgnoreReason.ATTACHMENT else None
    is_own = ignored.reason is IgnoreReason.OWN_MESSAGE and bool(ignored.text)
    return {
        "state": MessageState.IGNORED,
        "verdict": ignored.reason,
        "detail": ignored.detail[:500],
        "sender_name": "",
        "question": None,
        "text": waiting or ((ignored.text or None) if keep_text else None),
        "raw": _readable(raw[:limit]) if keep_text or ignored.reason in KEEP_RAW else None,
        "text_digest": text_digest(ignored.text) if is_own else None,
    }


def file_text(file: MemberFile | None) -> str | None:
    """What a person sent, as it waits in the row of its message."""
    return None if file is None else json.dumps(asdict(file), ensure_ascii=False)


def file_of_text(text: str | None) -> MemberFile | None:
    """The same again; None: it is gone, or was written by another release."""
    try:
        return MemberFile(**json.loads(text or ""))
    except (ValueError, TypeError):
        return None


def _readable(raw: bytes) -> str:
    """Bytes as text for a report: what is not UTF-8 shows as an escape."""
    return raw.decode("utf-8", errors="backslashreplace").replace("\x00", "\\x00")
