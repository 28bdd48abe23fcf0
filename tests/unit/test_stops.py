"""Runs that nobody reads any more are stopped, and nobody waits for that."""

import asyncio

import pytest

from app.services.errors import DifyUnavailable
from app.services.metrics import Metrics
from app.services.stops import Stops


class Dify:
    """Takes orders to stop."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.may_answer = asyncio.Event()
        self.is_away = False

    async def stop(self, task_id: str, user: str) -> None:
        """One order."""
        self.told.append((task_id, user))
        await self.may_answer.wait()
        if self.is_away:
            raise DifyUnavailable("x")


@pytest.mark.parametrize(("is_away", "outcome"), [(False, "told"), (True, "failed")])
async def test_an_order_is_sent_beside_and_counted(*, is_away: bool, outcome: str) -> None:
    """A failure is counted and hurts nobody; the end waits for what is on its way."""
    dify, metrics = Dify(), Metrics(version="x")
    dify.is_away = is_away
    stops = Stops(dify=dify, metrics=metrics)  # type: ignore[arg-type]
    stops.send("t-1", "wxid_a")
    stops.send("", "wxid_a")
    dify.may_answer.set()
    await stops.end()

    assert dify.told == [("t-1", "wxid_a")]
    labels = {"outcome": outcome}
    assert metrics.registry.get_sample_value("bridge_dify_stops_total", labels) == 1
