"""The inspection: looks again, remembers, logs what appears and what is gone, and never stands in the way."""

import asyncio

import pytest

from app.opening import database_look
from app.services.checks import inspection as inspection_module
from app.services.checks.inspection import Inspection
from app.services.errors import QueueUnavailable
from app.services.findings import Look, broken, risk
from app.utils.revisions import known_revisions
from tests.fixtures.stores import SwitchedStore

EVICTS = risk("redis_evicts", "会淘汰", refuses=True)
FULL = risk("redis_nearly_full", "快满了")


class Server:
    """Answers what a test wants."""

    def __init__(self, *looks: Look | Exception) -> None:
        self.answers = list(looks)
        self.looks = 0
        self.seen = asyncio.Event()

    async def __call__(self) -> Look:
        """The next answer; the last one again and again."""
        self.looks += 1
        self.seen.set()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def found(*findings: object) -> Look:
    """A look at a server that never changes."""
    return Look(findings=findings, identity={"version": "redis 7"})  # type: ignore[arg-type]


async def test_what_refuses_the_start_is_returned_and_the_rest_is_kept() -> None:
    """By server."""
    inspection = Inspection({"redis": Server(found(EVICTS, FULL)), "database": Server(Look())})

    assert await inspection.look() == (EVICTS,)
    assert inspection.last("redis").findings == (EVICTS, FULL)
    assert inspection.last("database").findings == ()


async def test_each_finding_is_logged_once_and_once_when_it_is_gone(log_lines: list[str]) -> None:
    """A look every half minute is no log line every half minute."""
    inspection = Inspection({"redis": Server(found(FULL), found(FULL), found(), found(FULL))})

    for _ in range(4):
        await inspection.look()

    told = [line.split()[1:3] for line in log_lines if " check." in line]
    assert [words[0] for words in told] == [
        "check.server",
        "check.found",
        "check.cleared",
        "check.found",
    ]
    assert any("WARNING" in line and "快满了" in line for line in log_lines)


async def test_server_that_is_away_keeps_what_was_found_before() -> None:
    """Health says by itself that it is away; what is wrong with it is not forgotten meanwhile."""
    inspection = Inspection({"redis": Server(found(FULL), QueueUnavailable("away"))})
    await inspection.look()

    assert await inspection.look() == ()
    assert inspection.last("redis").findings == (FULL,)


async def test_odd_answer_of_a_server_is_logged_and_refuses_nothing(log_lines: list[str]) -> None:
    """A fault of ours must not keep the bridge from starting."""
    inspection = Inspection({"redis": Server(KeyError("x")), "database": Server(found(FULL))})

    assert await inspection.look() == ()
    assert inspection.last("database").findings == (FULL,)
    assert any("check.failed" in line for line in log_lines)


async def test_server_that_hangs_does_not_hold_up_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is looked at later."""
    monkeypatch.setattr(inspection_module, "LOOK_SECONDS", 0.02)

    async def hang() -> Look:
        return await asyncio.Event().wait()  # type: ignore[return-value]

    async with asyncio.timeout(10):
        assert await Inspection({"redis": hang}).look() == ()


@pytest.mark.parametrize(
    "trouble", [QueueUnavailable("away"), found(broken("redis_refuses_writes", "从库"))]
)
async def test_server_that_is_away_or_broken_is_looked_at_soon(
    monkeypatch: pytest.MonkeyPatch, trouble: Look | Exception
) -> None:
    """What it is like when it is back shows within seconds; a sound one is looked at rarely."""
    monkeypatch.setattr(inspection_module, "SOON_SECONDS", 0.01)
    monkeypatch.setattr(inspection_module, "EVERY_SECONDS", 3600.0)
    server, stop = Server(trouble, trouble, found()), asyncio.Event()
    inspection = Inspection({"redis": server})
    await inspection.look()

    running = asyncio.create_task(inspection.run(stop))
    async with asyncio.timeout(10):
        while inspection.last("redis") != found():
            server.seen.clear()
            await server.seen.wait()
            await asyncio.sleep(0)
    looks = server.looks
    stop.set()
    await running

    assert looks == 3


async def test_database_that_comes_back_is_looked_at(switch: SwitchedStore) -> None:
    """On the real thing, both kinds."""
    inspection = Inspection({"database": database_look(switch)})
    switch.is_away = True
    await inspection.look()
    before = inspection.last("database")
    switch.is_away = False
    await inspection.look()

    assert before == Look()
    assert inspection.last("database").findings == ()
    assert inspection.last("database").facts["revision"] == known_revisions()[-1]
