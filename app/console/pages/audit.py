"""The audit: who changed what, from what, to what."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import Response

from app.console.downloads import send_table, stamped
from app.console.visit import Visit
from app.services.audit import DeedChoice
from app.services.stages import utc_now
from app.utils.ids import parse_id

HERE: Final = "/console/audit/"
PAGE: Final = 20
#: Rows that are read at a time for a file.
AT_ONCE: Final = 500
FIELDS: Final = ("id", "at", "operator", "address", "action", "subject", "before", "after")
ACTION_WORDS: Final = {
    "session.open": "登录",
    "session.close": "退出",
    "operator.add": "添加账号",
    "operator.password": "修改密码",
    "operator.disable": "停用账号",
    "operator.enable": "启用账号",
    "group.change": "修改群规则",
    "pause.begin": "暂停",
    "pause.end": "恢复",
    "setting.change": "修改设置",
    "setting.reset": "还原设置",
    "callback.register": "登记回调地址",
    "failures.replay": "重放",
    "failures.cancel": "停止重放",
    "queue.clear": "清空队列",
    "queue.free_lease": "收回租约",
    "conversation.reset": "重置对话",
    "group.mute": "静音",
    "contacts.refresh": "刷新联系人",
    "contacts.cancel": "停止刷新联系人",
    "export.messages": "导出消息",
    "export.talk": "导出会话",
    "export.audit": "导出审计",
    "log.download": "下载日志",
    "queue.pause": "暂停一个人",
    "queue.resume": "恢复一个人",
    "answer.recall": "收回回答",
}


async def export_deeds(visit: Visit) -> Response:
    """All of the list as a file, the newest first."""
    action = visit.form.get("action")
    choice = DeedChoice(
        operator=visit.form.get("operator")[:64], action=action if action in ACTION_WORDS else ""
    )
    told = " ".join(filter(None, (choice.action, choice.operator)))
    await visit.parts.audit.note(visit.deed("export.audit", "", after=told))
    name = stamped("audit", utc_now(), visit.parts.zone)
    return send_table(name, FIELDS, _all(visit, choice))


async def _all(visit: Visit, choice: DeedChoice) -> AsyncIterator[Mapping[str, Any]]:
    before: int | None = None
    while rows := await visit.parts.audit.newest(choice, before=before, limit=AT_ONCE):
        for row in rows:
            yield {**asdict(row), "at": row.at.isoformat()}
        before = rows[-1].id


async def list_deeds(visit: Visit) -> Response:
    """One page, the newest first."""
    action = visit.asked("action", 64)
    choice = DeedChoice(
        operator=visit.asked("operator", 64), action=action if action in ACTION_WORDS else ""
    )
    before = parse_id(visit.asked("before"))
    rows = await visit.parts.audit.newest(choice, before=before, limit=PAGE + 1)
    given = (("operator", choice.operator), ("action", choice.action))
    pairs = {name: value for name, value in given if value}
    following = rows[PAGE - 1].id if len(rows) > PAGE else None
    return visit.page(
        "audit.html",
        rows=rows[:PAGE],
        choice=choice,
        action_words=ACTION_WORDS,
        pages={
            "first": f"{HERE}?{urlencode(pairs)}" if before is not None else "",
            "next": f"{HERE}?{urlencode({**pairs, 'before': following})}" if following else "",
        },
    )
