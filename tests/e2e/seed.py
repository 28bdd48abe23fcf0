"""Rows as a busy day leaves them: groups, people, answered, ignored, waiting and failed messages."""

from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, insert

from app.models.account import GROUPS
from app.models.contact import CONTACTS, GROUP_MEMBERS
from app.models.message import MESSAGES
from app.models.segment import SEGMENTS
from app.utils.ids import id_at

BOT = "wxid_helper"
GROUP_NAMES = {
    "101@chatroom": "产品体验群",
    "102@chatroom": "售后服务群",
    "103@chatroom": "内部测试",
}
PEOPLE = {"wxid_ming": "小明", "wxid_hong": "小红", "wxid_wang": "老王", "wxid_li": "李雷 🌟"}
#: Text of a message in which somebody tries what a page might fall for.
HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>"
TEXTS = (
    "请问周末几点开门?",
    "上次说的退款到账了吗,订单号 20261126-8841",
    "@小助手 帮我把这段会议纪要整理成三点,明天上午十点之前要发给客户,谢谢!",
    HOSTILE,
    "好的,收到",
)
ANSWERS = ("周末 9:00 开门,18:00 关门。", "退款一般 1–3 个工作日到账,您的订单已在处理中。")

#: State, verdict, error, and how many of the segments are planned.
OUTCOMES: tuple[dict[str, Any], ...] = (
    {"state": "done", "verdict": "answered"},
    {"state": "done", "verdict": "answered"},
    {"state": "ignored", "verdict": "not_mentioned"},
    {"state": "done", "verdict": "answered"},
    {
        "state": "dead",
        "verdict": "failed:dify_rejected",
        "error": "dify_rejected: 401 Access token is invalid",
    },
    {"state": "done", "verdict": "answered"},
    {"state": "ignored", "verdict": "unsupported_type"},
    {
        "state": "dead",
        "verdict": "failed:attempt_timeout",
        "error": "attempt_timeout",
        "attempts": 3,
    },
)


def seed(database: Path, *, count: int = 64) -> list[int]:
    """Fill the file of a bridge that is running; gives the ids of the messages, newest first."""
    engine = create_engine(f"sqlite:///{database}", connect_args={"timeout": 30})
    now = datetime.now(UTC)
    messages = [_message(number, now) for number in range(count)]
    with engine.begin() as connection:
        connection.execute(insert(CONTACTS), [*_contacts(now)])
        connection.execute(insert(GROUP_MEMBERS), [*_members(now)])
        connection.execute(insert(GROUPS), [*_groups(now)])
        connection.execute(insert(MESSAGES), messages)
        connection.execute(insert(SEGMENTS), [*_segments(messages)])
    engine.dispose()
    return [message["id"] for message in messages]


def _message(number: int, now: datetime) -> dict[str, Any]:
    received = now - timedelta(minutes=number * 0.9, seconds=number * 7 % 50)
    outcome = OUTCOMES[number % len(OUTCOMES)]
    is_asked = outcome["state"] in ("done", "dead")
    took = timedelta(milliseconds=600 + number * 137 % 4000)
    is_done = outcome["state"] == "done"
    group = [*GROUP_NAMES][number % len(GROUP_NAMES)]
    text = TEXTS[number % len(TEXTS)]
    return {
        "id": id_at(received.timestamp()) + number,
        "bot_wc_id": BOT,
        "dedupe_key": f"7{number:018}",
        "new_msg_id": f"7{number:018}",
        "message_type": "80001",
        "from_user": [*PEOPLE][number % len(PEOPLE)],
        "group_id": group,
        "text": text if is_asked else None,
        "question": text if is_asked else None,
        "received_at": received,
        "queued_at": received + timedelta(milliseconds=9) if is_asked else None,
        "claimed_at": received + timedelta(milliseconds=21) if is_asked else None,
        "asked_at": received + timedelta(milliseconds=33) if is_asked else None,
        "first_text_at": received + took / 2 if is_done else None,
        "answered_at": received + took if is_done else None,
        "done_at": received + took * 1.3 if is_asked else None,
        "dify_conversation_id": "8f14e45f-ceea-467f-a0d1-52c1e3b0c7a1" if is_done else "",
        "total_tokens": 120 + number if is_done else None,
        "state": "",
        "verdict": "",
        "error": "",
        "attempts": 0,
        **outcome,
    }


def _segments(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    answers = cycle(ANSWERS)
    return [
        {
            "message_id": one["id"],
            "seq": 0,
            "bot_wc_id": BOT,
            "group_id": one["group_id"],
            "kind": "text",
            "content": next(answers),
            "state": "sent",
            "tries": 1,
            "new_msg_id": "99" + one["new_msg_id"][2:],
            "planned_at": one["answered_at"],
            "sending_at": one["answered_at"],
            "sent_at": one["done_at"],
        }
        for one in messages
        if one["state"] == "done"
    ]


def _contacts(now: datetime) -> list[dict[str, Any]]:
    named = [(wc_id, name, "group") for wc_id, name in GROUP_NAMES.items()]
    named += [(wc_id, name, "person") for wc_id, name in PEOPLE.items()]
    return [
        {
            "wc_id": wc_id,
            "nick_name": name,
            "kind": kind,
            "bot_wc_id": BOT,
            "error": "",
            "seen_at": now,
            "fetched_at": now,
        }
        for wc_id, name, kind in named
    ]


def _members(now: datetime) -> list[dict[str, Any]]:
    return [
        {"group_id": group, "wc_id": wc_id, "nick_name": name, "fetched_at": now}
        for group in GROUP_NAMES
        for wc_id, name in PEOPLE.items()
    ]


def _groups(now: datetime) -> list[dict[str, Any]]:
    return [{"bot_wc_id": BOT, "group_id": group, "first_seen_at": now} for group in GROUP_NAMES]
