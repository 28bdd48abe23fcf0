"""The way of a message: its stations with milliseconds since receipt, read from its rows."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from app.console.verdicts import brief, explain
from app.models.flow import WcId
from app.models.message import Message, MessageState
from app.models.segment import OPEN_STATES, SegmentRow, SegmentState
from app.services.stages import FLUSH_SECONDS
from app.services.store import Store

Row = dict[str, Any]

FINAL_STATES = (
    MessageState.DONE,
    MessageState.DEAD,
    MessageState.IGNORED,
    MessageState.REFUSED,
)
#: Stage times are written in batches: so long after the last known one a row says everything.
SETTLE = timedelta(seconds=2.5 * FLUSH_SECONDS)

#: Column, and what it is called; the columns are those of ``Message``.
STATIONS = (
    ("received_at", "收到回调"),
    ("queued_at", "进入队列"),
    ("claimed_at", "开始处理"),
    ("asked_at", "提问 Dify"),
    ("first_text_at", "首字到达"),
    ("answered_at", "回答完成"),
)
LAST_STATION = ("done_at", "全部完成")
SEGMENT_STATES = {
    SegmentState.PLANNED: "待发送",
    SegmentState.SENDING: "发送中",
    SegmentState.SENT: "已发送",
    SegmentState.UNKNOWN: "不确定是否发出",
    SegmentState.FAILED: "发送失败",
    SegmentState.CANCELLED: "已取消",
    SegmentState.RECALLING: "撤回中",
    SegmentState.RECALLED: "已撤回",
}

_MESSAGE_COLUMNS = (
    Message.id,
    Message.dedupe_key,
    Message.deliveries,
    Message.state,
    Message.verdict,
    Message.detail,
    Message.error,
    Message.attempts,
    Message.crashes,
    Message.dify_conversation_id,
    Message.total_tokens,
    Message.received_at,
    Message.queued_at,
    Message.claimed_at,
    Message.asked_at,
    Message.first_text_at,
    Message.answered_at,
    Message.done_at,
)
_SEGMENT_COLUMNS = (
    SegmentRow.message_id,
    SegmentRow.seq,
    SegmentRow.state,
    SegmentRow.tries,
    SegmentRow.error,
    SegmentRow.new_msg_id,
    SegmentRow.planned_at,
    SegmentRow.sending_at,
    SegmentRow.sent_at,
)


async def read_ways(
    store: Store, new_msg_ids: Collection[str], *, bots: Collection[WcId], now: datetime
) -> list[dict[str, Any]]:
    """
    Read the ways of the messages that have arrived, oldest first.

    Args:
        new_msg_ids: the gateway's ids, as digits; unknown ones are left out.
        bots: accounts whose messages are meant.

    Raises:
        StoreUnavailable: the database is away.
    """
    async with store.read() as connection:
        messages = await connection.execute(
            select(*_MESSAGE_COLUMNS)
            .where(Message.bot_wc_id.in_(bots), Message.dedupe_key.in_(new_msg_ids))
            .order_by(Message.id)
        )
        rows = [dict(row) for row in messages.mappings()]
        segments = await connection.execute(
            select(*_SEGMENT_COLUMNS)
            .where(SegmentRow.message_id.in_([row["id"] for row in rows]))
            .order_by(SegmentRow.message_id, SegmentRow.seq)
        )
        parts: dict[int, list[Row]] = {}
        for segment in segments.mappings():
            parts.setdefault(segment["message_id"], []).append(dict(segment))
    return [show_way(row, parts.get(row["id"], ()), now=now) for row in rows]


def show_way(message: Row, segments: Sequence[Row], *, now: datetime) -> dict[str, Any]:
    """
    A message's row and its segments' rows for the page; holds no text of anybody (pure).

    Ids are strings, times are milliseconds since receipt, None where a station is not reached.
    """
    start: datetime = message["received_at"]
    explanation = explain(state=message["state"], verdict=message["verdict"])
    stations = [_station(message, name, label, start) for name, label in STATIONS]
    return {
        "new_msg_id": message["dedupe_key"],
        "message_id": str(message["id"]),
        "state": message["state"],
        "verdict": message["verdict"],
        "label": explanation.label,
        "brief": brief(message["verdict"]),
        "explanation": explanation.text,
        "tone": explanation.tone,
        "detail": message["detail"],
        "error": message["error"],
        "deliveries": message["deliveries"],
        "attempts": message["attempts"],
        "crashes": message["crashes"],
        "dify_conversation_id": message["dify_conversation_id"],
        "total_tokens": message["total_tokens"],
        "stations": stations,
        "segments": [_segment(segment, start) for segment in segments],
        "done": _station(message, *LAST_STATION, start),
        "is_settled": _is_settled(message, segments, now),
    }


def _station(message: Row, name: str, label: str, start: datetime) -> dict[str, str | float | None]:
    return {"name": name.removesuffix("_at"), "label": label, "ms": _ms(message[name], start)}


def _segment(segment: Row, start: datetime) -> dict[str, Any]:
    return {
        "seq": segment["seq"],
        "state": segment["state"],
        "label": SEGMENT_STATES[SegmentState(segment["state"])],
        "tries": segment["tries"],
        "error": segment["error"],
        "new_msg_id": segment["new_msg_id"],
        "planned_ms": _ms(segment["planned_at"], start),
        "sending_ms": _ms(segment["sending_at"], start),
        "sent_ms": _ms(segment["sent_at"], start),
    }


def _is_settled(message: Row, segments: Sequence[Row], now: datetime) -> bool:
    if message["state"] not in FINAL_STATES:
        return False
    if any(segment["state"] in OPEN_STATES for segment in segments):
        return False
    columns = [name for name, _ in (*STATIONS, LAST_STATION)]
    known: list[datetime] = [message[name] for name in columns if message[name] is not None]
    return now - max(known) >= SETTLE


def _ms(moment: datetime | None, start: datetime) -> float | None:
    return None if moment is None else round((moment - start).total_seconds() * 1000, 1)
