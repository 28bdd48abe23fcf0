"""How long a callback may take in all: the body's arrival and the stores share one budget."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from starlette.requests import Request
from starlette.types import Message

from app.api import callback as callback_module
from app.models.flow import IgnoreReason, Unrecorded
from app.services.errors import StoreUnavailable
from app.services.reception import BUDGET
from app.services.tracing import NoTracer

GIVES_UP_SECONDS = 6.0


class Desk:
    """Stands in for the reception and notes how much time it was given."""

    def __init__(self, answer: Unrecorded | StoreUnavailable | None = None) -> None:
        self.given: list[tuple[bytes, float]] = []
        self.answer = answer

    async def take(self, raw: bytes, *, seconds: float) -> Unrecorded | None:
        """A body of the usual size."""
        self.given.append((raw, seconds))
        if isinstance(self.answer, StoreUnavailable):
            raise self.answer
        return self.answer

    async def take_too_large(self, beginning: bytes, *, seconds: float) -> None:
        """The beginning of a larger one."""
        self.given.append((beginning[:1], seconds))


async def post(chunks: AsyncIterator[bytes], desk: Desk) -> int:
    """The status of a POST whose body arrives in these chunks."""

    async def receive() -> Message:
        chunk = await anext(chunks, None)
        return {"type": "http.request", "body": chunk or b"", "more_body": chunk is not None}

    request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    response = await callback_module._take(request, cast(Any, desk), NoTracer())
    return response.status_code


async def slow_body(*chunks: bytes, pause: float) -> AsyncIterator[bytes]:
    """A body with a pause before each chunk."""
    for chunk in chunks:
        await asyncio.sleep(pause)
        yield chunk


@pytest.mark.parametrize(("body", "kept"), [(b"{}", b"{}"), (b"x" * 2_000_000, b"x")])
async def test_the_stores_get_what_the_body_left_of_the_budget(body: bytes, kept: bytes) -> None:
    """A body that takes 0.3 s leaves that much less."""
    desk = Desk()

    status = await post(slow_body(body, pause=0.3), desk)

    [(raw, seconds)] = desk.given
    assert (status, raw) == (200 if len(body) < 10 else 413, kept)
    assert BUDGET - 2 < seconds < BUDGET - 0.25


async def test_a_body_that_does_not_arrive_is_given_up_while_there_is_time_to_say_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """408, and nothing is taken."""
    monkeypatch.setattr(callback_module, "BODY_SECONDS", 0.05)
    desk = Desk()

    assert await post(slow_body(b"{", b"}", pause=0.04), desk) == 408
    assert desk.given == []


@pytest.mark.parametrize(
    ("answer", "status"),
    [(Unrecorded(reason=IgnoreReason.TEST_PUSH), 200), (StoreUnavailable("away"), 503)],
)
async def test_only_what_has_to_be_answered_is_refused_while_nothing_is_durable(
    answer: Unrecorded | StoreUnavailable, status: int
) -> None:
    """The gateway's test push succeeds, a question hears 503."""
    assert await post(slow_body(b"{}", pause=0), Desk(answer)) == status


def test_the_budget_ends_before_the_gateway_gives_up() -> None:
    """And a body never takes all of it."""
    assert callback_module.BODY_SECONDS < BUDGET < GIVES_UP_SECONDS
