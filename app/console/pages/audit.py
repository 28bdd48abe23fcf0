"""The audit: who changed what, from what, to what."""

from typing import Final
from urllib.parse import urlencode

from starlette.responses import Response

from app.console.visit import Visit
from app.services.audit import DeedChoice
from app.utils.ids import parse_id

HERE: Final = "/console/audit/"
PAGE: Final = 20
ACTION_WORDS: Final = {
    "session.open": "登录",
    "session.close": "退出",
    "operator.add": "添加账号",
    "operator.password": "修改密码",
    "operator.disable": "停用账号",
    "operator.enable": "启用账号",
    "group.change": "修改群规则",
    "setting.change": "修改设置",
    "setting.reset": "恢复设置",
    "callback.register": "登记回调地址",
    "failures.replay": "重放",
    "failures.cancel": "停止重放",
    "queue.clear": "清空队列",
    "queue.free_lease": "收回租约",
}


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
