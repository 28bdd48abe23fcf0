"""The first page: how the bridge is right now, and how the last hour was."""

import asyncio
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import func, select
from starlette.responses import Response

from app.console.charts import make_chart
from app.console.pages.pauses import SWITCHES
from app.console.reading.last_hour import LastHour
from app.console.reading.messages import names_of, page_of
from app.console.reading.names import read_names
from app.console.reading.traffic import DEFAULT_SPAN, SERIES, SPANS, Span
from app.console.sparklines import make_sparkline
from app.console.visit import Visit
from app.models.account import AccountState
from app.models.message import MESSAGES, MessageState
from app.services.errors import QueueUnavailable
from app.services.health import DependencyState
from app.services.stages import utc_now
from app.utils.ids import id_at

SPAN_WORDS: Final = {"15m": "15 分钟", "1h": "1 小时", "24h": "24 小时", "7d": "7 天"}
SERIES_WORDS: Final = {
    "answered": ("已回答", "good"),
    "waiting": ("等待中", "busy"),
    "dead": ("失败或未接受", "bad"),
    "ignored": ("不回答", "quiet"),
}
DEPENDENCY_WORDS: Final = {
    DependencyState.UP: ("正常", "good"),
    DependencyState.DEGRADED: ("有隐患", "warn"),
    DependencyState.SLOW: ("慢", "warn"),
    DependencyState.DOWN: ("不可用", "bad"),
    DependencyState.NOT_CONFIGURED: ("未配置", "warn"),
}
DEPENDENCY_NAMES: Final = {
    "database": "数据库",
    "redis": "Redis",
    "dify": "Dify",
    "ecloud": "E云管家",
}
ACCOUNT_WORDS: Final = {
    AccountState.ONLINE: ("在线", "good"),
    AccountState.OFFLINE: ("离线", "bad"),
    AccountState.FAILING: ("发送失败", "bad"),
    AccountState.UNKNOWN: ("未知", "warn"),
}
NEWEST_FAILURES: Final = 5
#: Longest time Redis is waited for: what shows an outage must not hang in it.
REDIS_SECONDS: Final = 1.5
#: The oldest waiting message, in seconds: from here it is worth a look, and from here a worry.
OLD: Final = 60
VERY_OLD: Final = 300
#: Columns of the range are named by day from here.
DAY_SECONDS: Final = 86_400


async def show_overview(visit: Visit) -> Response:
    """Figures of this moment and of the chosen range."""
    asked = visit.asked("range", 8)
    chosen = asked if asked in SPANS else DEFAULT_SPAN
    span, now = SPANS[chosen], utc_now()
    figures, traffic, hour, known, health, queue = await asyncio.gather(
        visit.parts.live.figures(),
        visit.parts.live.traffic(chosen),
        visit.parts.live.hour(),
        _out_of_sql(visit, now),
        visit.parts.report.look(),
        _out_of_redis(visit),
    )
    return visit.page(
        "overview_part.html" if visit.is_fragment else "overview.html",
        figures=figures,
        oldest=figures.oldest_age(now),
        old=OLD,
        very_old=VERY_OLD,
        traffic=traffic,
        sparks=_sparks(hour),
        **known,
        **queue,
        chosen=chosen,
        span_words=SPAN_WORDS,
        series_words=SERIES_WORDS,
        health=health,
        dependency_words=DEPENDENCY_WORDS,
        dependency_names=DEPENDENCY_NAMES,
        account_words=ACCOUNT_WORDS,
        switches=SWITCHES,
        paused_now=visit.parts.runtime.pauses.now(),
        chart=make_chart(traffic.columns, lambda start: _label(visit, start, span)),
    )


def _sparks(hour: LastHour) -> dict[str, str]:
    """A line for each tile (pure)."""
    return {
        "received": make_sparkline(hour.received),
        "answered": make_sparkline(hour.answered, top=1, bridges=True),
        "first": make_sparkline(hour.first, bridges=True),
        "waiting": make_sparkline(hour.waiting),
        "oldest": make_sparkline(hour.oldest),
        "dead": make_sparkline(hour.dead),
    }


async def _out_of_sql(visit: Visit, now: datetime) -> dict[str, Any]:
    columns = MESSAGES.c
    midnight = now.astimezone(visit.parts.zone).replace(hour=0, minute=0, second=0, microsecond=0)
    states = [state for some in SERIES.values() for state in some]
    standing = visit.parts.runtime.accounts.standing()
    async with visit.parts.runtime.store.read() as connection:
        today = await connection.scalar(
            select(func.count())
            .select_from(MESSAGES)
            .where(columns.state.in_(states), columns.id >= id_at(midnight.timestamp()))
        )
        newest = page_of([columns.state == MessageState.DEAD], before=None, limit=NEWEST_FAILURES)
        failures = (await connection.execute(newest)).all()
        return {
            "today": today or 0,
            "failures": failures,
            "names": await names_of(connection, failures),
            "standing": standing,
            "account_names": await read_names(connection, {str(one.wc_id) for one in standing}),
        }


async def _out_of_redis(visit: Visit) -> dict[str, Any]:
    """Queue, breakers and the limits of the apps; None while Redis is away."""
    runtime = visit.parts.runtime
    try:
        async with asyncio.timeout(REDIS_SECONDS):
            states = await runtime.breakers.states()
            breakers = [
                {
                    "peer": one.peer,
                    "since": datetime.fromtimestamp(one.opened_at, UTC),
                    "code": one.code,
                }
                for one in states
            ]
            looks = {app: await runtime.limits.look(app) for app in runtime.apps}
            limits = {app: look for app, look in looks.items() if look.limit is not None}
            queue = await runtime.queue.figures()
            return {"queue": queue, "breakers": breakers, "limits": limits}
    except (QueueUnavailable, TimeoutError):
        return {"queue": None, "breakers": [], "limits": {}}


def _label(visit: Visit, start: datetime, span: Span) -> str:
    local = start.astimezone(visit.parts.zone)
    return local.strftime("%m-%d" if span.seconds > DAY_SECONDS else "%H:%M")
