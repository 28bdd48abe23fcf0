"""Queues: who waits, for whom, in whose hands; clearing one, and taking a stale lease back."""

from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import select
from starlette.responses import Response

from app.console.gate import refusal
from app.console.reading.names import find_people, read_names
from app.console.visit import Visit
from app.models.flow import WcId
from app.models.message import MESSAGES
from app.models.pause import PauseKind
from app.services.clearing import Clearing
from app.services.pauses import PauseTable
from app.services.queue.keys import Keys
from app.services.queue.overview import QueueOverview, UserQueue
from app.services.stages import utc_now
from app.utils.ids import id_milliseconds, parse_id

HERE: Final = "/console/queues/"
#: Users of each line that are looked up.
MOST: Final = 200
#: As the tables hold it.
LONGEST_WXID: Final = 128
#: Of one queue.
ELEMENTS: Final = 50

_M = MESSAGES.c


async def list_queues(visit: Visit) -> Response:
    """Those in line, whoever waits longest first."""
    runtime = visit.parts.runtime
    overview = QueueOverview(runtime.redis)
    asked = visit.asked("user", 128)
    async with runtime.store.read() as connection:
        people = await find_people(connection, asked) if asked else ()
    if asked:
        found = [one for wc_id in people if (one := await overview.user(WcId(wc_id), elements=1))]
    else:
        found = await overview.in_line(most=MOST)
    queues = sorted(found, key=_order)[:MOST]
    paused = [one for one in runtime.pauses.now().lasting if one.kind is PauseKind.USER]
    async with runtime.store.read() as connection:
        names = await read_names(
            connection, {one.user for one in queues} | {one.subject for one in paused}
        )
    return visit.page(
        "queues_part.html" if visit.is_fragment else "queues.html",
        queues=queues,
        figures=await runtime.queue.figures(),
        names=names,
        paused=paused,
        asked=asked,
        age_of=_age_of,
    )


async def show_queue(visit: Visit) -> Response:
    """One person's queue with its first messages."""
    user = WcId(visit.request.path_params["user"])
    runtime = visit.parts.runtime
    queue = await QueueOverview(runtime.redis).user(user, elements=ELEMENTS)
    if queue is None:
        return visit.go(HERE, told="queue_empty")
    keys = Keys()
    rows, names = await _messages(visit, queue)
    return visit.page(
        "queue.html",
        queue=queue,
        rows=rows,
        names=names,
        age_of=_age_of,
        paused=runtime.pauses.now().of(PauseKind.USER, user),
        commands=[
            f"redis-cli LRANGE '{keys.queue(user)}' 0 -1",
            f"redis-cli GET '{keys.processing(user)}'",
            f"redis-cli ZSCORE {keys.ready} '{user}'",
        ],
    )


async def clear_queue(visit: Visit) -> Response:
    """Give up all that waits of one person; their id has to be typed."""
    user = WcId(visit.request.path_params["user"])
    if visit.form.get("typed").strip() != user:
        return visit.go(HERE + quote(user, safe=""), told="not_typed")
    runtime = visit.parts.runtime
    queue = await QueueOverview(runtime.redis).user(user, elements=1)
    clearing = Clearing(runtime.store, runtime.queue)
    by = visit.deed("queue.clear", user)
    spared = None if queue is None else queue.in_hand
    count = await clearing.clear(user, spared=spared, by=by)
    return visit.go(HERE, told="queue_cleared" if count else "queue_empty")


async def free_lease(visit: Visit) -> Response:
    """Take back the lease that the page showed; another one stays."""
    user = WcId(visit.request.path_params["user"])
    token = visit.form.get("lease")[:300]
    if not token:
        return refusal(visit, HTTPStatus.UNPROCESSABLE_ENTITY, "没有写明是哪个租约。")
    await visit.parts.audit.note(visit.deed("queue.free_lease", user, before=token))
    is_freed = await QueueOverview(visit.parts.runtime.redis).free(user, token)
    return visit.go(HERE, told="lease_freed" if is_freed else "lease_gone")


async def pause_user(visit: Visit) -> Response:
    """Let one person's messages wait; the address or the form names them."""
    user = visit.form.get("user").strip()
    if not is_person(user):
        return visit.go(HERE, told="no_person")
    return await _pause(visit, WcId(user), is_paused=True)


async def resume_user(visit: Visit) -> Response:
    """Let one person's messages be answered again."""
    return await _pause(visit, WcId(visit.form.get("user")), is_paused=False)


async def _pause(visit: Visit, user: WcId, *, is_paused: bool) -> Response:
    runtime = visit.parts.runtime
    table = PauseTable(runtime.store)
    by = visit.deed("queue.pause" if is_paused else "queue.resume", user)
    await (table.begin if is_paused else table.end)(PauseKind.USER, user, by=by)
    await runtime.pauses.load()
    return visit.go(HERE, told="person_paused" if is_paused else "person_resumed")


def is_person(text: str) -> bool:
    """Whether it may be somebody's wxid (pure)."""
    is_short = 0 < len(text) <= LONGEST_WXID
    return is_short and text.isprintable() and not text.endswith("@chatroom")


def _age_of(queue: UserQueue) -> float | None:
    """Seconds since the first message was received; None: what stands there is no id."""
    first = parse_id(queue.elements[0]) if queue.elements else None
    if first is None:
        return None
    received = datetime.fromtimestamp(id_milliseconds(first) / 1000, UTC)
    return max(0.0, (utc_now() - received).total_seconds())


def _order(queue: UserQueue) -> int:
    """Ids grow with time; what is no id comes first, somebody should look at it."""
    return (parse_id(queue.elements[0]) if queue.elements else None) or 0


async def _messages(visit: Visit, queue: UserQueue) -> tuple[dict[str, Any], Any]:
    """Rows of the queue's messages by their id as text, and names."""
    ids: Sequence[int] = [one for text in queue.elements if (one := parse_id(text)) is not None]
    async with visit.parts.runtime.store.read() as connection:
        found = await connection.execute(
            select(
                _M.id, _M.group_id, _M.text, _M.state, _M.verdict, _M.attempts, _M.received_at
            ).where(_M.id.in_(ids))
        )
        rows = {str(row.id): row for row in found}
        names = await read_names(connection, {queue.user} | {row.group_id for row in rows.values()})
    return rows, names
