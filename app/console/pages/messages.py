"""Messages: the list with its filters, and everything of one."""

import asyncio
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import Response

from app.console.advice import next_step
from app.console.downloads import send_table, stamped
from app.console.gate import refusal
from app.console.reading.log import level_of, lines_of
from app.console.reading.messages import (
    DEFAULT_RANGE,
    MessageFilter,
    find_conditions,
    parse_filter,
    read_messages,
)
from app.console.reading.one_message import read_one
from app.console.timeline import make_timeline
from app.console.verdicts import explain, known_verdicts
from app.console.visit import Visit
from app.models.flow import MessageId
from app.models.message import MessageState
from app.models.roles import OperatorRole
from app.services.export import MESSAGE_FIELDS, Extent
from app.services.export import read_messages as read_all
from app.services.letters import ReplayOptions, Resumption, decide_replay
from app.services.stages import utc_now
from app.services.take_backs import TakeBacks
from app.utils.ids import parse_id

HERE: Final = "/console/messages/"
RANGE_WORDS: Final = {
    "1h": "1 小时",
    "24h": "24 小时",
    "7d": "7 天",
    "30d": "30 天",
    "90d": "90 天",
}
STATE_WORDS: Final = {
    "waiting": "等待中",
    "sending": "发送中",
    "done": "已完成",
    "dead": "失败",
    "ignored": "不回答",
    "refused": "未接受",
}


async def list_messages(visit: Visit) -> Response:
    """One page of the list."""
    choice = parse_filter(visit.request.query_params)
    before = parse_id(visit.asked("before"))
    runtime = visit.parts.runtime
    found = await read_messages(runtime.store, choice, before=before, now=utc_now())
    pages = {
        "first": _address(choice) if before is not None else "",
        "next": _address(choice, before=found.before) if found.before is not None else "",
    }
    return visit.page(
        "messages.html",
        choice=choice,
        found=found,
        pages=pages,
        explain=explain,
        verdicts=known_verdicts(),
        range_words=RANGE_WORDS,
        state_words=STATE_WORDS,
        is_filtered=choice != MessageFilter(),
    )


async def export_messages(visit: Visit) -> Response:
    """All of the list as a file, the oldest first."""
    choice = parse_filter(dict(visit.form.pairs))
    runtime, now = visit.parts.runtime, utc_now()
    async with runtime.store.read() as connection:
        conditions = await find_conditions(connection, choice, now=now)
    await visit.parts.audit.note(visit.deed("export.messages", "", after=told(choice)))
    # An id is looked for whatever the range is.
    extent = Extent(since=None if choice.id else choice.since(now), conditions=conditions)
    name = stamped("messages", now, visit.parts.zone)
    return send_table(name, MESSAGE_FIELDS, read_all(runtime.store, extent))


def told(choice: MessageFilter) -> str:
    """A filter for the audit: of what names a person only that it was given (pure)."""
    open_values = {"range": choice.range, "state": choice.state, "verdict": choice.verdict}
    named = {"person": choice.person, "group": choice.group, "q": choice.text, "id": choice.id}
    given = {**open_values, **{name: value and "…" for name, value in named.items()}}
    return " ".join(f"{name}={value}" for name, value in given.items() if value)


async def show_message(visit: Visit) -> Response:
    """Everything of one message: beside the list, or as a page."""
    message_id = parse_id(visit.request.path_params["id"])
    found = None if message_id is None else await read_one(visit.parts.runtime.store, message_id)
    if found is None:
        return refusal(visit, HTTPStatus.NOT_FOUND, "没有这条消息,或已按保留期限清除。")
    row = found.row
    fates = await TakeBacks(visit.parts.runtime.store).look(MessageId(row.id))
    said: list[str] = []
    if visit.may(OperatorRole.ADMIN):
        said = await asyncio.to_thread(lines_of, visit.parts.runtime, row.id)
    return visit.page(
        "message_part.html" if visit.is_fragment else "message.html",
        one=found,
        why=explain(state=row.state, verdict=row.verdict),
        advice=next_step(state=row.state, verdict=row.verdict, cause=found.letter.cause),
        timeline=make_timeline(row, found.segments),
        explain=explain,
        log_lines=[(level_of(line), line) for line in said],
        can_replay=isinstance(decide_replay(found.letter, ReplayOptions()), Resumption),
        can_recall=bool(fates.going) and row.state != MessageState.DEAD,
    )


async def recall_answer(visit: Visit) -> Response:
    """Take back what the bot said to a message; the account's sender carries it out."""
    message_id = parse_id(visit.request.path_params["id"])
    if message_id is None:
        return refusal(visit, HTTPStatus.NOT_FOUND, "没有这条消息,或已按保留期限清除。")
    runtime = visit.parts.runtime
    await visit.parts.audit.note(visit.deed("answer.recall", str(message_id)))
    fates = await TakeBacks(runtime.store).take(MessageId(message_id))
    for bot in fates.bots:
        await runtime.outbox.ring(bot)
    is_taken = bool(fates.going or fates.cancelled)
    return visit.go(f"{HERE}{message_id}", told="recalling" if is_taken else "nothing_to_recall")


def _address(choice: MessageFilter, **more: Any) -> str:
    """Address of the list with this filter (pure)."""
    pairs = {
        "range": "" if choice.range == DEFAULT_RANGE else choice.range,
        "q": choice.text,
        "person": choice.person,
        "group": choice.group,
        "state": choice.state,
        "verdict": choice.verdict,
        "id": choice.id,
        **more,
    }
    query = urlencode({name: value for name, value in pairs.items() if value})
    return f"{HERE}?{query}" if query else HERE
