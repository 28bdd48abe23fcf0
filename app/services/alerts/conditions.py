"""What is wrong at one moment, as values (pure): made of what the bridge knows already."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from app.models.account import AccountState
from app.services.dead_letters import CauseCount
from app.services.errors import EcloudThrottled
from app.services.figures import Figures
from app.services.findings import Effect, Finding, Look
from app.services.queue.breakers import DIFY, OpenBreaker, account_peer
from app.services.standing import Standing

MEBIBYTE: Final = 1024 * 1024
#: Findings that are told although the server works: it will not for long.
NEARLY_BROKEN: Final = frozenset({"redis_nearly_full", "redis_not_saved"})
#: Findings that are told although the gateway works: nothing arrives from it, or nothing can go out.
CUT_OFF: Final = frozenset(
    {"ecloud_nobody_online", "ecloud_callback_none", "ecloud_callback_elsewhere"}
)
#: The breaker's word for an account that is not online.
OFFLINE: Final = "account_offline"


class Topic(StrEnum):
    """Where conditions come from. One that could not be read says nothing of its conditions."""

    ACCOUNTS = "accounts"
    BREAKERS = "breakers"
    WAITING = "waiting"
    DEAD_LETTERS = "dead_letters"
    DATABASE = "database"
    SERVERS = "servers"
    APPS = "apps"
    GATEWAY = "gateway"
    DISK = "disk"
    REDIS = "redis"
    CALLBACKS = "callbacks"


class Severity(StrEnum):
    """How soon somebody has to look."""

    #: Nothing is answered, or messages may be lost, until somebody does something.
    URGENT = "urgent"
    WARNING = "warning"


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """One thing that is wrong now. Texts are Chinese; ids of accounts may be in them, of people not."""

    topic: Topic
    #: What is concerned, e.g. ``account:wxid_…``; the same from beginning to end.
    key: str
    #: What is wrong with it, a stable word; a new one is told, too.
    code: str
    title: str
    text: str
    #: What the operator has to do.
    advice: str
    #: Seconds since 1970 at which it began; None: nobody knows better than from when it was seen.
    since: float | None = None
    #: How many, where that means something.
    amount: int | None = None
    severity: Severity = Severity.WARNING
    #: What is told when it is gone.
    ending: str = "已恢复。"


_FAILING: Final[Mapping[str, tuple[str, str]]] = {
    EcloudThrottled.code: (
        "微信号被限速",
        (
            "网关说发得太快,这个号暂停发送,稍后自动再试。请调小 ecloud.sends_per_minute、加大 "
            "ecloud.send_gap;一直不好就到手机上看这个号有没有被微信提醒或限制。"
        ),
    ),
    "ecloud_unauthorized": (
        "E云管家拒绝了 Authorization",
        "请重新登录 E云管家,把新的值写进 ecloud.authorization 并重启。",
    ),
    "ecloud_unavailable": (
        "连不上 E云管家",
        "请检查 ecloud.base_url、网络和网关;恢复后自动继续。",
    ),
    "ecloud_undecided": (
        "E云管家没有应答",
        "请检查网关是否很慢;只是慢就加大 ecloud.timeout。恢复后自动继续。",
    ),
}
#: An account that fails and has no breaker: sends that are refused as too many open none.
FAILING: Final = "account_failing"
_UNCLEAR: Final = (
    "微信号被限速或发送失败",
    (
        "多半是发得太快,这个号暂停发送,稍后自动再试;原因看日志里 account.paused 的 code。"
        "是 ecloud_throttled 就调小 ecloud.sends_per_minute、加大 ecloud.send_gap,"
        "一直不好就到手机上看这个号有没有被微信提醒或限制。"
    ),
)
_FAILS: Final = ("微信号发送失败", "请看日志里的 account.paused 和 E云管家;恢复后自动继续。")


def account_conditions(
    standings: Iterable[Standing], breakers: Iterable[OpenBreaker]
) -> list[Condition]:
    """Accounts that cannot send; what their breakers say tells the reason."""
    codes = {one.peer: one.code for one in breakers}
    return [
        _account(one, codes.get(account_peer(one.wc_id), FAILING))
        for one in standings
        if one.is_down
    ]


def _account(standing: Standing, code: str) -> Condition:
    if standing.state is AccountState.OFFLINE or code == OFFLINE:
        code, title = OFFLINE, "微信号离线"
        advice = (
            "请在 E云管家重新登录这个微信号,登录后自动继续发送。"
            "等了超过 ecloud.offline_max_wait 的回答不再发送。"
        )
    elif code == FAILING:
        title, advice = _UNCLEAR
    else:
        title, advice = _FAILING.get(code, _FAILS)
    return Condition(
        topic=Topic.ACCOUNTS,
        key=f"account:{standing.wc_id}",
        code=code,
        title=title,
        text=f"微信号 {standing.wc_id} 不能发送({code}),它的回答都等着。",
        advice=advice,
        since=standing.since.timestamp(),
        severity=Severity.URGENT if code in (OFFLINE, "ecloud_unauthorized") else Severity.WARNING,
    )


def breaker_conditions(breakers: Iterable[OpenBreaker]) -> list[Condition]:
    """Dify apps that are left alone. Accounts are told of by their standing."""
    return [
        Condition(
            topic=Topic.BREAKERS,
            key=f"breaker:{one.peer}",
            code="breaker_open",
            title="Dify 熔断",
            text=f"Dify 应用 {one.peer.partition(':')[2]} 没有回答({one.code}),提问暂停,消息照收。",
            advice="请检查 Dify。恢复后自动按次序继续,不必重放;"
            "等了超过 message_processing.outage_max_wait 的成为死信。",
            since=one.opened_at,
        )
        for one in breakers
        if one.peer.partition(":")[0] == DIFY
    ]


def waiting_conditions(
    figures: Figures, *, now: float, longest: float, is_paused: bool = False
) -> list[Condition]:
    """
    The oldest message waits too long.

    Args:
        longest: in seconds; 0: whatever it waits.
        is_paused: an operator has paused taking or sending.
    """
    since = figures.oldest_since
    if not longest or since is None or now - since.timestamp() <= longest:
        return []
    return [
        Condition(
            topic=Topic.WAITING,
            key="oldest_waiting",
            code="waits_long",
            title="消息等得太久",
            text=f"最久的一条消息已等了 {now - since.timestamp():.0f} 秒,共有 {figures.waiting} 条在等。",
            advice="操作员暂停了收取或发送(健康检查的 pauses);恢复用后台,或 python -m app.cli resume。"
            if is_paused
            else "请看 python -m app.cli queue list:谁在等、等什么;再看健康检查里 Dify 是否正常。",
            since=since.timestamp(),
            amount=figures.waiting,
        )
    ]


def letter_condition(count: CauseCount, *, since: float) -> Condition:
    """Dead letters of one cause that became more lately."""
    return Condition(
        topic=Topic.DEAD_LETTERS,
        key=f"dead_letters:{count.cause}",
        code="dead_letters",
        title="有新的死信",
        text=f"原因是 {count.cause} 的死信现在有 {count.count} 条。",
        advice=f"请看 python -m app.cli failed list --cause {count.cause},修好原因,再用 failed replay 重放。",
        since=since,
        amount=count.count,
        ending="一小时没有新的,或已重放、清除。没有重放的还在那里。",
    )


def database_condition(reason: str) -> Condition:
    """The database takes no rows."""
    return Condition(
        topic=Topic.DATABASE,
        key="database",
        code="database_away",
        title="数据库不可用",
        text=f"数据库连不上、写不进或太慢({reason})。消息写进本地磁盘的溢出文件。",
        advice="请检查数据库是否在运行、磁盘是否已满;恢复后溢出的消息自动补进。不要删 *.spill 文件。",
        severity=Severity.URGENT,
    )


def finding_conditions(server: str, look: Look, *, topic: Topic, title: str) -> list[Condition]:
    """
    What the inspection of a server found broken, or soon to be; in its own words.

    Args:
        server: its stable name, for the key.
        title: how an operator calls it.
    """
    return [
        Condition(
            topic=topic,
            key=f"check:{server}:{one.code}",
            code=one.code,
            title=f"{title} 不正常",
            text=one.text,
            advice="照上面说的改;改好后的下一次检查就恢复。",
            severity=Severity.URGENT if one.effect is Effect.BROKEN else Severity.WARNING,
        )
        for one in look.findings
        if is_told(one)
    ]


def is_told(finding: Finding) -> bool:
    """Whether a finding is worth an alert: broken, or soon to be, or cut off."""
    return finding.effect is Effect.BROKEN or finding.code in NEARLY_BROKEN | CUT_OFF


def disk_conditions(host: str, folder: str, *, free: int, least: int) -> list[Condition]:
    """The data folder's disk is nearly full; *least* is in MiB, 0: however full it is."""
    if free >= least * MEBIBYTE:
        return []
    return [
        Condition(
            topic=Topic.DISK,
            key=f"disk:{host}:{folder}",
            code="disk_full",
            title="磁盘快满了",
            text=f"{host} 上 {folder} 所在的磁盘只剩 {free / MEBIBYTE:.0f} MiB。",
            advice="请清理磁盘:旧日志、备份。数据库不可用时消息要写在这里,写不下就回 503。",
            amount=free // MEBIBYTE,
        )
    ]


def redis_condition(reason: str) -> Condition:
    """Redis is away, or takes no writes: as one process sees it."""
    return Condition(
        topic=Topic.REDIS,
        key="redis",
        code="redis_away",
        title="Redis 不可用",
        text=f"Redis 连不上或拒绝写入({reason})。消息照收进数据库,但不处理。",
        advice="请检查 Redis 是否在运行、内存和磁盘是否已满;恢复后自动重建队列并继续。",
        severity=Severity.URGENT,
    )


def refusing_condition() -> Condition:
    """Callbacks are answered 503."""
    return Condition(
        topic=Topic.CALLBACKS,
        key="callbacks",
        code="callbacks_refused",
        title="回调收不下来",
        text="数据库和本地磁盘都写不进,要回答的消息回了 503。",
        advice="请立刻检查数据库和数据目录的磁盘:网关不一定会再投递。",
        severity=Severity.URGENT,
    )
