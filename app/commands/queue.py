"""``queue``: who waits, for how long, in whose hands; and giving up what waits of one person."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from app.commands.choice import parse_wxid
from app.commands.database import with_database
from app.commands.output import (
    WRONG_USE,
    AsJson,
    fail,
    local_time,
    outer_setting,
    print_json,
    print_table,
    printable,
)

if TYPE_CHECKING:
    from app.services.queue.overview import QueueOverview, UserQueue
    from app.services.store import Store

T = TypeVar("T")

queue = typer.Typer(help="查看、清空各用户的队列。", no_args_is_help=True)


@queue.command("list")
def queue_list(
    limit: Annotated[int, typer.Option("--limit", min=1, help="最多列出的用户数")] = 50,
    *,
    as_json: AsJson = False,
) -> None:
    """列出有消息等待的用户,等得最久的在前。"""
    found = _ask_queue(lambda overview: overview.users())
    now = datetime.now(UTC)
    users = [shown_queue(one, now) for one in sorted(found, key=_order_of_receipt)]
    if as_json:
        print_json({"users": len(users), "queues": users[:limit]})
        return
    print_table(
        ("用户", "消息数", "最早", "状态", "失败", "崩溃"),
        [
            (
                one["user"],
                str(one["depth"]),
                _age_words(one["oldest_seconds"]),
                one["state"],
                str(one["attempts"]),
                str(one["crashes"]),
            )
            for one in users[:limit]
        ],
    )
    hidden = len(users) - limit
    typer.echo(f"共 {len(users)} 个用户" + (f",未显示 {hidden} 个(--limit)" if hidden > 0 else ""))


@queue.command("show")
def queue_show(
    user: Annotated[str, typer.Argument(help="用户的 wxid")],
    limit: Annotated[int, typer.Option("--limit", min=1, help="最多列出的消息数")] = 20,
    *,
    as_json: AsJson = False,
) -> None:
    """显示一个用户的队列和租约。"""
    from app.models.flow import WcId  # noqa: PLC0415 - late

    found = _ask_queue(lambda overview: overview.user(WcId(user), elements=limit))
    if found is None:
        print_json(None) if as_json else typer.echo(f"{user} 没有等待的消息。")
        return
    now = datetime.now(UTC)
    shown = shown_queue(found, now)
    messages = [shown_element(element, now) for element in found.elements]
    if as_json:
        print_json({**shown, "messages": messages})
        return
    typer.echo(f"{shown['user']}:{found.depth} 条消息,{shown['state']}")
    if found.lease is not None:
        typer.echo(f"租约:{shown['lease']},剩余 {found.lease.seconds_left:.0f} 秒")
    if found.attempts or found.crashes:
        typer.echo(f"第一条:失败 {found.attempts} 次,崩溃 {found.crashes} 次")
    print_table(
        ("消息编号", "收到时间", "已等待"),
        [(one["id"], one["received_at"], _age_words(one["seconds"])) for one in messages],
    )


@queue.command("clear")
def queue_clear(
    user: Annotated[str, typer.Argument(help="用户的 wxid")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="不再询问")] = False,
    as_json: AsJson = False,
) -> None:
    """放弃一个用户等待的全部消息,正在处理的那条除外;每条记为死信 failed:cleared,可以重放。"""
    from app.models.flow import WcId  # noqa: PLC0415 - late

    user = parse_wxid(user)
    waits = _ask_queue(lambda overview: overview.user(WcId(user), elements=1))
    if not yes:
        typer.echo(f"{user} 有 {0 if waits is None else waits.depth} 条消息。", err=True)
        if typer.prompt("确定放弃的话,再写一遍 wxid", err=True).strip() != user:
            fail("没有清空。")
    count = _clear(user)
    if as_json:
        print_json({"user": printable(user), "cleared": count})
        return
    typer.echo(f"放弃了 {count} 条消息;要重放:python -m app.cli failed replay --user {user}")


def _clear(user: str) -> int:
    """How many messages were given up; what a worker has in hand by now is spared."""
    from app.models.flow import WcId  # noqa: PLC0415 - late
    from app.services.audit import ON_THE_MACHINE, Deed  # noqa: PLC0415 - late
    from app.services.clearing import Clearing  # noqa: PLC0415 - late
    from app.services.errors import QueueUnavailable  # noqa: PLC0415 - late
    from app.services.queue.overview import QueueOverview  # noqa: PLC0415 - late
    from app.services.queue.redis_queue import RedisQueue  # noqa: PLC0415 - late
    from app.utils.redis_client import close_redis, make_redis  # noqa: PLC0415 - late

    url = reachable_redis_url(outer_setting("redis_url").get_secret_value())
    by = Deed(operator=ON_THE_MACHINE, action="queue.clear", subject=user)

    async def work(store: "Store") -> int:
        redis = make_redis(url)
        try:
            waits = await QueueOverview(redis).user(WcId(user), elements=1)
            spared = None if waits is None else waits.in_hand
            clearing = Clearing(store, RedisQueue(redis, worker=ON_THE_MACHINE))
            return await clearing.clear(WcId(user), spared=spared, by=by)
        finally:
            await close_redis(redis)

    try:
        return with_database(work)
    except QueueUnavailable as error:
        fail(f"Redis 连不上({error})")


def reachable_redis_url(url: str) -> str:
    """
    The address under which another process reaches the bridge's Redis (pure).

    Raises:
        ValueError: it has none; the text says what to do.
    """
    from urllib.parse import urlsplit  # noqa: PLC0415 - late

    parts = urlsplit(url)
    if parts.scheme != "embedded":
        return url
    if not parts.netloc:
        raise ValueError(
            "REDIS_URL 是 embedded://:队列在服务进程的内存里,别的进程看不到。"
            "改成 REDIS_URL=embedded://127.0.0.1:6380 并重启服务,再用本命令或 redis-cli -p 6380 查看。"
        )
    return f"redis://{parts.netloc}/0"


def shown_queue(one: "UserQueue", now: datetime) -> dict[str, Any]:
    """One user's queue as it is printed."""
    oldest = shown_element(one.elements[0], now) if one.elements else {"seconds": None}
    if one.lease is not None:
        state = f"处理中({printable(one.lease.worker)},租约剩余 {one.lease.seconds_left:.0f} 秒)"
    elif one.parked_for is not None:
        state = f"暂停,等 {printable(one.parked_for)}"
    elif one.due_in:
        state = f"{one.due_in:.0f} 秒后重试"
    else:
        state = "等待" if one.due_in is not None else "未排上(一分钟内自动修复)"
    return {
        "user": printable(one.user),
        "depth": one.depth,
        "oldest_seconds": oldest["seconds"],
        "state": state,
        "lease": None if one.lease is None else printable(one.lease.token),
        "lease_seconds_left": None if one.lease is None else one.lease.seconds_left,
        "parked_for": None if one.parked_for is None else printable(one.parked_for),
        "due_in_seconds": one.due_in,
        "attempts": one.attempts,
        "crashes": one.crashes,
    }


def shown_element(element: str, now: datetime) -> dict[str, Any]:
    """One element of a list; what is no message id was put there by hand."""
    from app.utils.ids import id_milliseconds  # noqa: PLC0415 - late

    if not _is_id(element):
        return {"id": printable(element), "received_at": "不是消息编号", "seconds": None}
    received = datetime.fromtimestamp(id_milliseconds(int(element)) / 1000, UTC)
    return {
        "id": element,
        "received_at": local_time(received),
        "seconds": round(max(0.0, (now - received).total_seconds()), 1),
    }


def _order_of_receipt(one: "UserQueue") -> int:
    """Ids grow with the time of receipt; what is no id comes first, somebody should look at it."""
    return int(one.elements[0]) if one.elements and _is_id(one.elements[0]) else 0


def _is_id(element: str) -> bool:
    return element.isascii() and element.isdigit() and len(element) <= 19  # noqa: PLR2004 - 63 bits


def _age_words(seconds: float | None) -> str:
    return "" if seconds is None else str(timedelta(seconds=round(seconds)))


def _ask_queue(look: Callable[["QueueOverview"], Coroutine[Any, Any, T]]) -> T:
    from app.services.errors import QueueUnavailable  # noqa: PLC0415 - late
    from app.services.queue.overview import QueueOverview  # noqa: PLC0415 - late
    from app.utils.redis_client import close_redis, make_redis  # noqa: PLC0415 - late

    configured = outer_setting("redis_url").get_secret_value()
    try:
        url = reachable_redis_url(configured)
    except ValueError as error:
        fail(str(error), WRONG_USE)

    async def ask() -> T:
        redis = make_redis(url)
        try:
            return await look(QueueOverview(redis))
        finally:
            await close_redis(redis)

    try:
        return asyncio.run(ask())
    except QueueUnavailable as error:
        hint = ";服务在运行吗?" if configured.startswith("embedded:") else ""
        fail(f"Redis 连不上{hint}({error})")
