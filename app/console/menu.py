"""The side menu, and the few words that every page shows. Only what there is stands in it."""

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from app.console.pages.pauses import BAR_WORDS, paused_switches
from app.console.playground.way import SEGMENT_STATES
from app.console.verdicts import brief
from app.console.visit import Visit
from app.models.roles import OperatorRole


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One page in the menu."""

    path: str
    label: str
    icon: str
    role: OperatorRole = OperatorRole.VIEWER
    #: Which of the live figures stands beside it.
    badge: str = ""
    is_here: bool = False


ENTRIES: Final = (
    Entry(path="/console/", label="概览", icon="overview"),
    Entry(path="/console/messages/", label="消息", icon="messages"),
    Entry(path="/console/failures/", label="失败与重放", icon="failures", badge="dead"),
    Entry(path="/console/queues/", label="队列", icon="queues", badge="waiting"),
    Entry(path="/console/groups/", label="群与规则", icon="groups"),
    Entry(path="/console/talks/", label="会话", icon="talks"),
    Entry(path="/console/contacts/", label="联系人", icon="contacts"),
    Entry(path="/console/log/", label="日志", icon="log", role=OperatorRole.ADMIN),
    Entry(path="/console/settings/", label="设置", icon="settings", role=OperatorRole.ADMIN),
    Entry(path="/console/audit/", label="审计", icon="audit", role=OperatorRole.ADMIN),
)

ROLE_WORDS: Final = {
    OperatorRole.VIEWER: "只读",
    OperatorRole.OPERATOR: "操作员",
    OperatorRole.ADMIN: "管理员",
}

#: What a page says after something was done, by the key in its address.
TOLD_WORDS: Final = {
    "password_changed": "密码已修改,别处的登录已失效。",
    "paused": "已暂停,两秒内在所有进程生效。",
    "resumed": "已恢复,两秒内在所有进程生效。",
    "nothing_chosen": "没有选中任何一条。",
    "nothing_to_replay": "选中的都不能重放。",
    "group_changed": "已保存,几秒内生效。",
    "setting_live": "已保存,几秒内在所有进程里生效。",
    "setting_restart": "已保存,重启之后生效。",
    "setting_left": "什么也没有改。",
    "name_not_typed": "输入的名字不对,没有删去。",
    "wizard_saved": "测试通过,已保存。",
    "queue_empty": "这个人没有等待的消息。",
    "recalling": "已写下,随即从群里撤回。",
    "nothing_to_recall": "没有可撤回的:发出已过两分钟,或还没有发出。",
    "person_paused": "已暂停这个人:消息照常收下,但等着。",
    "person_resumed": "已恢复,等着的消息接着处理。",
    "no_person": "请写出一个人的 wxid。",
    "talk_reset": "已重置:下一个问题在 Dify 里开始新的对话。",
    "talk_new": "没有进行中的对话,下一个问题本来就是新的。",
    "muted": "已静音,几秒内生效;到时自动结束。",
    "unmuted": "已取消静音,几秒内生效。",
    "no_group": "没有这个群,什么也没有改。",
    "no_log": "没有日志文件。",
    "no_gateway": "还没有配置 E云管家,无处可取。",
    "nothing_to_refresh": "没有可刷新的:都在等着取,或没有符合条件的。",
    "queue_cleared": "已清空;这些消息在失败与重放里,原因是「队列被清空」。",
    "not_typed": "输入的 wxid 不对,没有清空。",
    "lease_freed": "租约已收回,这个人的下一条马上可以领取。",
    "lease_gone": "那个租约已经不在了,什么也没有改。",
}


def menu_of(visit: Visit) -> list[Entry]:
    """What this operator may open; the page that is open is marked."""
    path = visit.request.url.path
    return [
        Entry(
            path=entry.path,
            label=entry.label,
            icon=entry.icon,
            badge=entry.badge,
            is_here=is_here(entry.path, path),
        )
        for entry in ENTRIES
        if visit.may(entry.role)
    ]


def is_here(entry: str, path: str) -> bool:
    """Whether a page belongs to an entry (pure)."""
    return path == entry if entry == "/console/" else path.startswith(entry)


def here_of(visit: Visit) -> str:
    """Address of this page, without what it was told once."""
    pairs = [
        (key, value) for key, value in visit.request.query_params.multi_items() if key != "told"
    ]
    query = urlencode(pairs)
    path = visit.request.url.path
    return f"{path}?{query}" if query else path


def words_of_pages() -> dict[str, Any]:
    """What the templates know beside the values of a page."""
    return {
        "menu_of": menu_of,
        "here_of": here_of,
        "role_words": ROLE_WORDS,
        "told_words": TOLD_WORDS,
        "segment_words": SEGMENT_STATES,
        "paused_switches": paused_switches,
        "bar_words": BAR_WORDS,
        "brief": brief,
    }
