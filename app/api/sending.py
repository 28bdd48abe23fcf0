"""What health and metrics show of the senders: what each does and what holds it back, not whose it is."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from app.runtime import Runtime
from app.services.ecloud.pacing import Why
from app.services.errors import QueueUnavailable, StoreUnavailable
from app.services.paces import SenderView

#: Longest time the stores are waited for: what shows an outage must not hang in it.
LOOK_SECONDS = 1.5
#: An account owes something, and no process sends for it.
NOBODY = "nobody"
#: For the operator, beside the word.
_SENTENCES = {
    Why.GAP: "两条之间的间隔",
    Why.MINUTE: "每分钟条数已满",
    Why.KIND: "图片或文件每分钟条数已满",
    Why.DAY: "今天的条数已满",
    Why.QUIET: "免打扰时段",
    Why.PAUSED: "操作员暂停了发送",
    Why.GROUP: "群自己在等:被拒绝、被限速,或等回音",
    Why.THROTTLED: "网关说太频繁",
    Why.OFFLINE: "微信号不在线",
    Why.FAILING: "网关不可用或不接受",
    "sending": "正在发送",
    "idle": "没有要发的",
    NOBODY: "没有 sender 进程为它发送",
}


async def shown_sending(runtime: Runtime) -> list[dict[str, Any]]:
    """One entry for each account that owes something or has a sender; none while a store is away."""
    views = await _look(runtime) or []
    return [_shown(view) for view in views]


async def refresh_sending(runtime: Runtime) -> None:
    """Set the gauges; while a store is away they keep their last value."""
    views = await _look(runtime)
    if views is None:
        return
    counts = Counter(view.state for view in views)
    for reason in (*Why, NOBODY):
        runtime.metrics.held.labels(reason=str(reason)).set(counts[str(reason)])
    runtime.metrics.slowed.set(max((view.slowed for view in views), default=1.0))


async def _look(runtime: Runtime) -> list[SenderView] | None:
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            owing = set(await runtime.outbox.owing_accounts())
            shown = await runtime.paces.shown(sorted(owing | runtime.accounts.own_ids))
    except (StoreUnavailable, QueueUnavailable, TimeoutError):
        return None
    alone = [SenderView(state=NOBODY) for bot in owing if bot not in shown]
    return [*shown.values(), *alone]


def _shown(view: SenderView) -> dict[str, Any]:
    until = datetime.fromtimestamp(view.until, UTC).isoformat(timespec="seconds")
    return {
        "state": view.state,
        "text": _SENTENCES.get(view.state, ""),
        **({"until": until} if view.until else {}),
        "unsent_segments": view.owed,
        "slowed": view.slowed,
        **({"process": view.holder} if view.holder else {}),
    }
