"""Talks: what was said in one group and answered, as bubbles."""

from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlencode

from sqlalchemy import func, select
from starlette.responses import Response

from app.console.downloads import send_table, stamped
from app.console.pages.messages import RANGE_WORDS
from app.console.reading.messages import DEFAULT_RANGE, RANGES, names_of, page_of
from app.console.reading.names import read_names
from app.console.verdicts import explain
from app.console.visit import Visit
from app.models.account import Group
from app.models.flow import WcId
from app.models.message import MESSAGES, MessageState
from app.models.segment import SEGMENTS, SegmentState
from app.services.export import TURN_FIELDS, Extent, read_turns
from app.services.group_table import GroupTable
from app.services.resets import reset_conversations
from app.services.stages import utc_now
from app.utils.ids import parse_id

HERE: Final = "/console/talks/"
PAGE: Final = 30
#: For which the bot may be muted.
MINUTES: Final = (10, 30, 60, 240, 1440)
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
        muted_until = await connection.scalar(
            select(func.max(Group.muted_until)).where(Group.group_id == group)
        )
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
        people={
            row.from_user: names.of(row.from_user, group, told=row.sender_name) for row in shown
        },
        muted_until=muted_until if muted_until and muted_until > utc_now() else None,
        minutes=MINUTES,
        range_words=RANGE_WORDS,
    )


async def reset(visit: Visit) -> Response:
    """Let the next question of one person, or of everybody in the group, begin anew in Dify."""
    group, user = visit.form.get("group")[:128], visit.form.get("user")[:128]
    if not group:
        return visit.go(HERE, told="no_group")
    # Whoever is erased is erased here, too: the person is the subject.
    by = visit.deed("conversation.reset", user or group, before=group if user else "")
    store = visit.parts.runtime.store
    count = await reset_conversations(store, WcId(group), WcId(user) if user else None, by=by)
    return visit.go(_address(group), told="talk_reset" if count else "talk_new")


async def mute(visit: Visit) -> Response:
    """Answer nothing that is asked in the group for some minutes, or answer again."""
    group, asked = visit.form.get("group")[:128], visit.form.get("minutes")
    minutes = int(asked) if asked in map(str, (0, *MINUTES)) else None
    if not group or minutes is None:
        return visit.go(HERE, told="no_group")
    until = utc_now() + timedelta(minutes=minutes) if minutes else None
    after = until.isoformat(timespec="seconds") if until else "off"
    runtime = visit.parts.runtime
    by = visit.deed("group.mute", group, after=after)
    count = await GroupTable(runtime.store).mute([group], until, by=by)
    await runtime.groups.load()
    if not count:
        return visit.go(HERE, told="no_group")
    return visit.go(_address(group), told="muted" if until else "unmuted")


async def export_talk(visit: Visit) -> Response:
    """Questions and answers of the group as a file, the oldest first."""
    group, asked = visit.form.get("group")[:128], visit.form.get("range")
    if not group:
        return visit.go(HERE, told="no_group")
    now = utc_now()
    chosen = asked if asked in RANGES else DEFAULT_RANGE
    await visit.parts.audit.note(visit.deed("export.talk", group, after=f"range={chosen}"))
    extent = Extent(since=now - RANGES[chosen], group_id=WcId(group))
    name = stamped("conversations", now, visit.parts.zone)
    return send_table(name, TURN_FIELDS, read_turns(visit.parts.runtime.store, extent))


def _address(group: str) -> str:
    return f"{HERE}?{urlencode({'group': group})}"
