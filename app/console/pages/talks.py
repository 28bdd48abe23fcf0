"""Talks: what was said in one group and answered, as bubbles."""

from typing import Any, Final
from urllib.parse import urlencode

from sqlalchemy import select
from starlette.responses import Response

from app.console.reading.messages import names_of, page_of
from app.console.reading.names import read_names
from app.console.verdicts import explain
from app.console.visit import Visit
from app.models.account import Group
from app.models.message import MESSAGES, MessageState
from app.models.segment import SEGMENTS, SegmentState
from app.utils.ids import parse_id

HERE: Final = "/console/talks/"
PAGE: Final = 30
#: Groups to choose from, those seen last.
MOST_GROUPS: Final = 200

_M, _S = MESSAGES.c, SEGMENTS.c
_NO_QUESTIONS = (MessageState.IGNORED, MessageState.RATING, MessageState.COMMAND)
_ANSWER = (
    SegmentState.SENT,
    SegmentState.PLANNED,
    SegmentState.SENDING,
    SegmentState.UNKNOWN,
    SegmentState.RECALLING,
)


async def show_talk(visit: Visit) -> Response:
    """The newest of one group, oldest on top; without a group the one seen last."""
    group, before = visit.asked("group", 128), parse_id(visit.asked("before"))
    store = visit.parts.runtime.store
    async with store.read() as connection:
        newest = select(Group.group_id).order_by(Group.id.desc()).limit(MOST_GROUPS)
        groups = list(dict.fromkeys(await connection.scalars(newest)))
        group = group or (groups[0] if groups else "")
        said = page_of(
            [_M.group_id == group, _M.state.not_in(_NO_QUESTIONS)], before=before, limit=PAGE + 1
        )
        rows = (await connection.execute(said)).all() if group else []
        shown = list(reversed(rows[:PAGE]))
        parts: dict[int, list[Any]] = {}
        answers = (
            select(_S.message_id, _S.content, _S.state)
            .where(_S.message_id.in_([row.id for row in shown]), _S.state.in_(_ANSWER))
            .order_by(_S.message_id, _S.seq)
        )
        for part in await connection.execute(answers):
            parts.setdefault(part.message_id, []).append(part)
        names = await names_of(connection, shown)
        group_names = await read_names(connection, {*groups, group})
    following = rows[PAGE - 1].id if len(rows) > PAGE else None
    return visit.page(
        "talks.html",
        group=group,
        groups=groups if group in groups or not group else [group, *groups],
        group_names=group_names,
        rows=shown,
        parts=parts,
        names=names,
        explain=explain,
        pages={
            "first": f"{HERE}?{urlencode({'group': group})}" if before is not None else "",
            "next": f"{HERE}?{urlencode({'group': group, 'before': following})}"
            if following
            else "",
        },
    )
