"""One event stream per tab: the figures of the menu as soon as they change."""

import time
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Final

import orjson
from starlette.responses import Response, StreamingResponse

from app.console.gate import refusal
from app.console.pages.pauses import paused_switches
from app.console.visit import Visit
from app.services.errors import StoreUnavailable
from app.services.stages import utc_now
from app.utils.loops import stopped_within

LOOK_SECONDS: Final = 2.0
#: Without a change something is said so often, so that a dead connection is noticed.
BEAT_SECONDS: Final = 10.0
#: Whether the session still holds is asked so often.
SESSION_SECONDS: Final = 30.0


async def stream_events(visit: Visit) -> Response:
    """The stream; it ends with the process, and when the session is over."""
    if visit.parts.stopping.is_set():
        return refusal(visit, HTTPStatus.SERVICE_UNAVAILABLE, "服务正在停止。")
    # What a proxy in between holds back would come too late.
    headers = {"X-Accel-Buffering": "no"}
    return StreamingResponse(_events(visit), media_type="text/event-stream", headers=headers)


async def _events(visit: Visit) -> AsyncIterator[bytes]:
    parts = visit.parts
    said, said_at, asked_at = b"", 0.0, time.monotonic()
    while True:
        figures = await _figures(visit)
        now = time.monotonic()
        if figures is not None and (figures != said or now - said_at >= BEAT_SECONDS):
            said, said_at = figures, now
            yield b"event: figures\ndata: " + figures + b"\n\n"
        elif now - said_at >= BEAT_SECONDS:
            said_at = now
            yield b": still here\n\n"
        if await stopped_within(parts.stopping, LOOK_SECONDS):
            return
        if time.monotonic() - asked_at >= SESSION_SECONDS:
            asked_at = time.monotonic()
            if not await _still_holds(visit):
                return


async def _figures(visit: Visit) -> bytes | None:
    """The figures as JSON; None: the database is away."""
    try:
        found = await visit.parts.live.figures()
    except StoreUnavailable:
        return None
    paused = ",".join(one.kind for one in paused_switches(visit))
    # The newest one is a text: browsers round such numbers.
    shown = {
        "waiting": found.waiting,
        "dead": found.dead,
        "segments": found.open_segments,
        "paused": paused,
        "newest": str(found.newest),
    }
    return orjson.dumps(shown)


async def _still_holds(visit: Visit) -> bool:
    """Whether the session is not over; while the database is away nobody is sent off."""
    try:
        return await visit.parts.sessions.is_open(visit.secret, now=utc_now())
    except StoreUnavailable:
        return True
