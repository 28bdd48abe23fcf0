"""What is refused is told by the log, and does not fill the disk."""

import asyncio
import re
from collections import Counter

import pytest
from typing_extensions import override

from app.models.flow import MessageId, Refused, RefuseReason
from app.services import refusal_log
from app.services.refusal_log import RefusalLog
from app.utils.clock import SystemClock


class HandClock(SystemClock):
    """A clock that is set by hand."""

    now = 1000.0

    @override
    def monotonic(self) -> float:
        return self.now


def refused(reason: RefuseReason = RefuseReason.USER_QUEUE_FULL) -> Refused:
    """One refusal."""
    return Refused(message_id=MessageId(7), reason=reason)


def told(lines: list[str]) -> list[tuple[str, int]]:
    """Verdict and count of each line that an operator sees."""
    found = [
        re.search(r"WARNING callback\.refusing .*verdict=(\w+) count=(\d+)", one) for one in lines
    ]
    return [(one[1], int(one[2])) for one in found if one]


def test_the_first_refusal_is_told_at_once_and_the_rest_of_a_burst_together(
    log_lines: list[str],
) -> None:
    """A thousand refusals within ten seconds are two lines, which add up."""
    clock = HandClock()
    log = RefusalLog(clock)
    for _ in range(1_000):
        log.note(refused())
    assert told(log_lines) == [("user_queue_full", 1)]

    clock.now += refusal_log.PAUSE_SECONDS
    log.note(refused())

    assert told(log_lines) == [("user_queue_full", 1), ("user_queue_full", 1_000)]


async def test_what_is_left_is_told_without_a_further_refusal_and_by_reason(
    log_lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Soon after the overload, and at the latest when the process ends."""
    monkeypatch.setattr(refusal_log, "LOOK_SECONDS", 0.01)
    clock, stop = HandClock(), asyncio.Event()
    log = RefusalLog(clock)
    running = asyncio.create_task(log.run(stop))
    for reason in [RefuseReason.USER_QUEUE_FULL] * 3 + [RefuseReason.TOO_MANY_WAITING] * 2:
        log.note(refused(reason))
    clock.now += refusal_log.PAUSE_SECONDS
    async with asyncio.timeout(10):
        while sum(count for _, count in told(log_lines)) < 5:
            await asyncio.sleep(0.01)
    log.note(refused())
    stop.set()
    await running

    sums: Counter[str] = Counter()
    for verdict, count in told(log_lines):
        sums[verdict] += count
    assert sums == {"user_queue_full": 4, "too_many_waiting": 2}
