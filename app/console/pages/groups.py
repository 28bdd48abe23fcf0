"""Groups and their rules: what holds in each, changing it, and trying a line of text."""

from dataclasses import asdict, replace
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any, Final

from starlette.responses import Response

from app.console.advice import next_step
from app.console.gate import refusal
from app.console.group_form import read_group_form, told, values_of
from app.console.reading.names import read_names
from app.console.verdicts import explain
from app.console.visit import Visit
from app.models.flow import DEFAULT_APP, GroupMessage, Origin, Question, Trigger, WcId
from app.models.message import MessageState
from app.runtime import group_defaults
from app.services.decide import decide
from app.services.group_table import GroupRow, GroupTable
from app.services.groups import GroupSettings, overlaid, without_trigger
from app.services.stages import utc_now
from app.utils.ids import parse_id

HERE: Final = "/console/groups/"
PAGE: Final = 20
LONGEST_LINE: Final = 500
TRIGGER_WORDS: Final = {
    Trigger.ALL: "每条",
    Trigger.MENTION: "@ 机器人时",
    Trigger.PREFIX: "以前缀开头",
    Trigger.KEYWORD: "含关键词",
    Trigger.REGEX: "匹配正则",
}


async def list_groups(visit: Visit) -> Response:
    """All groups that were ever seen, with what holds in each."""
    asked = visit.asked("q")
    number = max(1, parse_id(visit.asked("page")) or 1)
    rows = [row for row in await GroupTable(visit.parts.runtime.store).rows() if _fits(row, asked)]
    shown = rows[(number - 1) * PAGE : number * PAGE]
    defaults = group_defaults(visit.parts.runtime.live.now)
    async with visit.parts.runtime.store.read() as connection:
        names = await read_names(connection, {str(row.bot_wc_id) for row in shown})
    return visit.page(
        "groups.html",
        rows=[(row, _in_force(row, defaults)) for row in shown],
        names=names,
        asked=asked,
        total=len(rows),
        number=number,
        has_more=len(rows) > number * PAGE,
        moment=utc_now().timestamp(),
        trigger_words=TRIGGER_WORDS,
    )


async def show_group(visit: Visit) -> Response:
    """One group with its form; a line of text may be tried."""
    row = await _row(visit)
    if row is None:
        return refusal(visit, HTTPStatus.NOT_FOUND, "没有这个群。")
    return await _page(visit, row, values_of(row))


async def change_group(visit: Visit) -> Response:
    """Set what holds in one group; the bridge takes it up within seconds."""
    row = await _row(visit)
    if row is None:
        return refusal(visit, HTTPStatus.NOT_FOUND, "没有这个群。")
    defaults = group_defaults(visit.parts.runtime.live.now)
    typed = read_group_form(visit.form, defaults, apps=_apps(visit))
    if typed.problem:
        values = {**values_of(row), **typed.columns}
        return await _page(visit, row, values, problem=typed.problem)
    by = visit.deed(
        "group.change",
        f"{row.name} {row.group_id}".strip(),
        before=told(values_of(row)),
        after=told(typed.columns),
    )
    await GroupTable(visit.parts.runtime.store).change(row.id, typed.columns, by=by)
    return visit.go(f"{HERE}{row.id}", told="group_changed")


async def _row(visit: Visit) -> GroupRow | None:
    row_id = parse_id(visit.request.path_params["id"])
    table = GroupTable(visit.parts.runtime.store)
    return None if row_id is None else await table.row(row_id)


async def _page(
    visit: Visit, row: GroupRow, values: dict[str, Any], *, problem: str = ""
) -> Response:
    defaults = group_defaults(visit.parts.runtime.live.now)
    line = visit.request.query_params.get("line", "")[:LONGEST_LINE]
    async with visit.parts.runtime.store.read() as connection:
        names = await read_names(connection, {str(row.bot_wc_id)})
    return visit.page(
        "group.html",
        HTTPStatus.UNPROCESSABLE_ENTITY if problem else HTTPStatus.OK,
        row=row,
        values=values,
        names=names,
        defaults=defaults,
        problem=problem,
        apps=_apps(visit),
        trigger_words=TRIGGER_WORDS,
        line=line,
        is_mentioned=visit.asked("mention") == "1",
        tried=_try(visit, row, line, defaults) if line else None,
    )


def _try(visit: Visit, row: GroupRow, line: str, defaults: GroupSettings) -> dict[str, Any]:
    """What would become of a line that somebody writes in this group now."""
    bot = row.bot_wc_id
    is_mentioned = visit.asked("mention") == "1"
    message = GroupMessage(
        origin=Origin(bot_wc_id=bot, from_user=WcId("wxid_somebody"), group_id=row.group_id),
        text=line,
        mentions=(bot,) if is_mentioned else (),
    )
    rules = _in_force(row, defaults).rules
    now = utc_now().timestamp()
    outcome = decide(message, replace(rules, max_message_age=0), own_accounts=(bot,), now=now)
    if not isinstance(outcome, Question):
        why = explain(state=MessageState.IGNORED, verdict=outcome.reason)
        advice = next_step(state=MessageState.IGNORED, verdict=outcome.reason)
        return {"why": why, "advice": advice, "question": ""}
    return {"why": None, "advice": None, "question": outcome.text}


def _in_force(row: GroupRow, defaults: GroupSettings) -> GroupSettings:
    """The defaults with the row on top, as the bridge reads it."""
    plain = SimpleNamespace(**asdict(row))
    try:
        return overlaid(defaults, plain)
    except ValueError:
        return without_trigger(defaults, plain)


def _fits(row: GroupRow, asked: str) -> bool:
    return not asked or asked.casefold() in f"{row.name} {row.group_id}".casefold()


def _apps(visit: Visit) -> list[str]:
    return [DEFAULT_APP, *(app.name for app in visit.parts.runtime.settings.dify.apps)]
