"""An operator pauses taking, sending or one person: what waits, what goes on, and that nothing is lost."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from app.api.views import make_health_view
from app.models.flow import Accepted, WcId
from app.models.pause import PauseKind
from app.services.audit import Deed
from app.services.pauses import Paused, PausePeriod, PauseTable
from app.services.stages import utc_now
from app.workers.availability import Availability
from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from tests.fixtures.inside import INSIDE_EMBEDDED, LOOK_SECONDS, Inside, StartInside
from tests.fixtures.sending import texts

TAKING, SENDING, USER = PauseKind.TAKING, PauseKind.SENDING, PauseKind.USER
BY = Deed(operator="小王", action="pause.begin", subject="")


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are read and ended sooner than in earnest."""
    monkeypatch.setattr("app.services.pauses.LOOK_SECONDS", 0.05)
    monkeypatch.setattr("app.workers.parking.LOOK_SECONDS", 0.05)
    monkeypatch.setattr("app.workers.worker.PAUSED_SECONDS", 0.05)
    monkeypatch.setattr("app.workers.own_pace.PAUSED_SECONDS", 0.05)


async def until(bridge: Inside, condition: Callable[[Paused], bool]) -> None:
    """Wait until the process has read it."""
    async with asyncio.timeout(10):
        while not condition(bridge.runtime.pauses.now()):
            await asyncio.sleep(LOOK_SECONDS)


async def begin(bridge: Inside, kind: PauseKind, subject: str = "") -> None:
    """As another process does it: the one that runs finds it in SQL."""
    assert await PauseTable(bridge.runtime.store).begin(kind, subject, by=BY)
    await until(bridge, lambda paused: paused.of(kind, subject) is not None)


async def end(bridge: Inside, kind: PauseKind, subject: str = "") -> None:
    """Likewise."""
    assert await PauseTable(bridge.runtime.store).end(kind, subject, by=BY)


async def test_while_sending_is_paused_nobody_is_asked_and_afterwards_all_goes_out_in_order(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """No try is counted, nothing is dropped, however little an answer may wait for its account."""
    async with inside(
        ECLOUD_OFFLINE_MAX_WAIT="0", MESSAGE_PROCESSING_OUTAGE_MAX_WAIT="1"
    ) as bridge:
        await begin(bridge, SENDING)
        await bridge.hear("一 [[text=甲]]")
        await bridge.hear("二 [[text=乙]]")
        await bridge.hear("三 [[text=丙]]", person="小红")
        await bridge.until_parked(2)
        asked = len(dify.questions())
        waiting = await bridge.rows("SELECT attempts, state FROM messages")
        await end(bridge, SENDING)
        settled = await bridge.until_settled(3)

    assert asked == 0
    assert {(row["attempts"], row["state"]) for row in waiting} == {(0, "received")}
    assert [row["verdict"] for row in settled] == ["answered"] * 3
    assert sorted(texts(gateway)) == ["丙", "乙", "甲"]
    assert [one for one in texts(gateway) if one != "丙"] == ["甲", "乙"]


async def test_an_answer_that_is_written_waits_for_the_end_of_the_pause(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """It was asked before; it is planned, shown as held back, and sent once."""
    async with inside() as bridge:
        await bridge.hear("一 [[text=甲]] [[wait=2]]")
        await bridge.until_rows("SELECT id FROM messages WHERE state = 'processing'")
        await begin(bridge, SENDING)
        planned = await bridge.until_rows("SELECT state FROM segments")
        async with asyncio.timeout(20):
            health = make_health_view(bridge.runtime, is_draining=lambda: False)
            while "paused" not in {one["state"] for one in await health.sending()}:
                await asyncio.sleep(LOOK_SECONDS)
        sent = texts(gateway)
        await end(bridge, SENDING)
        await bridge.until_settled(1)

    assert [row["state"] for row in planned] == ["planned"]
    assert sent == []
    assert texts(gateway) == ["甲"]


async def test_while_taking_is_paused_all_is_received_and_nothing_is_claimed(
    inside: StartInside, dify: DifySimulator, gateway: EcloudSimulator
) -> None:
    """Neither a restart nor a wiped Redis lifts it."""
    async with inside() as bridge:
        await begin(bridge, TAKING)
        receipts = [await bridge.hear("一 [[text=甲]]"), await bridge.hear("二 [[text=乙]]")]
        await bridge.runtime.redis.flushall()
    async with inside() as bridge:
        paused = bridge.runtime.pauses.now().is_taking
        receipts.append(await bridge.hear("三 [[text=丙]]"))
        async with asyncio.timeout(30):
            while (await bridge.runtime.queue.figures()).ready_users < 1:
                await asyncio.sleep(LOOK_SECONDS)
        asked = len(dify.questions())
        claimed = await bridge.rows("SELECT id FROM messages WHERE claimed_at IS NOT NULL")
        await end(bridge, TAKING)
        settled = await bridge.until_settled(3)

    assert [type(one) for one in receipts] == [Accepted] * 3
    assert paused
    assert (asked, claimed) == (0, [])
    assert [row["verdict"] for row in settled] == ["answered"] * 3
    assert texts(gateway) == ["甲", "乙", "丙"]


async def test_one_person_waits_and_the_others_are_answered(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """Until that person is let go on."""
    async with inside() as bridge:
        ming = gateway.speech.find_member(gateway.speech.find_group("体验群"), "小明")
        await begin(bridge, USER, ming)
        await bridge.hear("一 [[text=甲]]")
        await bridge.hear("二 [[text=乙]]", person="小红")
        others = await bridge.until_settled(1)
        await bridge.until_parked(1)
        parked = await bridge.runtime.queue.parked_peers()
        await end(bridge, USER, ming)
        settled = await bridge.until_settled(2)

    assert [row["from_user"] for row in others] != [ming]
    assert parked == {f"pause:user:{ming}": 1}
    assert [row["verdict"] for row in settled] == ["answered"] * 2
    assert texts(gateway) == ["乙", "甲"]


@INSIDE_EMBEDDED
async def test_a_pause_is_seen_in_health_metrics_and_the_log_once(
    inside: StartInside, log_lines: list[str]
) -> None:
    """Of a person only that somebody is paused."""
    async with inside() as bridge:
        await begin(bridge, SENDING)
        await begin(bridge, USER, "wxid_ming")
        view = make_health_view(bridge.runtime, is_draining=lambda: False)
        shown = view.pauses()
        exposition = (await view.exposition()).decode()
        await end(bridge, SENDING)
        await until(bridge, lambda paused: not paused.is_sending)

    assert [one["what"] for one in shown] == ["sending"]
    assert 'bridge_paused{what="sending"} 1.0' in exposition
    assert 'bridge_paused{what="taking"} 0.0' in exposition
    assert 'bridge_paused{what="user"} 1.0' in exposition
    assert "wxid_ming" not in exposition
    told = [line for line in log_lines if "pause." in line]
    assert [line.split()[1] for line in told] == ["pause.began", "pause.began", "pause.ended"]


@INSIDE_EMBEDDED
async def test_two_pauses_at_once_are_one_and_each_change_is_in_the_audit(
    inside: StartInside,
) -> None:
    """What changes nothing is no deed."""
    async with inside(works=False) as bridge:
        table = PauseTable(bridge.runtime.store)
        begun = [await table.begin(SENDING, by=BY) for _ in range(2)]
        ended = [await table.end(SENDING, by=BY) for _ in range(2)]
        again = await table.begin(SENDING, by=BY)
        deeds = await bridge.rows("SELECT operator FROM audit_log WHERE action = 'pause.begin'")
        periods = (await table.read()).periods

    assert (begun, ended, again) == ([True, False], [True, False], True)
    assert len(deeds) == 3
    assert [one.ended_at is None for one in periods] == [False, True]


@INSIDE_EMBEDDED
async def test_time_in_a_pause_makes_no_message_too_old_for_an_outage(
    inside: StartInside, dify: DifySimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dify is down when it ends: what waited for the operator alone waits on, and is answered."""
    monkeypatch.setattr("app.services.queue.breakers.FIRST_PAUSE", 0.2)
    monkeypatch.setattr("app.services.queue.breakers.LONGEST_PAUSE", 0.2)
    dify.faults.set("down", times=10_000)
    limits = {"MESSAGE_PROCESSING_OUTAGE_MAX_WAIT": "30", "MESSAGE_PROCESSING_MAX_RETRY_COUNT": "0"}
    async with inside(**limits) as bridge:
        await begin(bridge, SENDING)
        await bridge.hear("一 [[text=甲]]")
        await bridge.until_parked(1)
        # As if all of this had begun a hundred seconds ago.
        then = (utc_now() - timedelta(seconds=100)).replace(tzinfo=None)
        await bridge.execute("UPDATE messages SET replayed_at = :then", then=then)
        await bridge.execute("UPDATE pauses SET began_at = :then", then=then)
        await end(bridge, SENDING)
        await dify.recorder.until(lambda: len(dify.questions()) >= 2)
        dify.faults.clear()
        settled = await bridge.until_settled(1)

    assert [row["verdict"] for row in settled] == ["answered"]


def test_an_outage_within_a_pause_is_not_the_accounts() -> None:
    """Its sender subtracts it: the answer is sent, however little it may wait."""
    now = utc_now()
    outage = (now - timedelta(seconds=100), now - timedelta(seconds=10))
    standing = SimpleNamespace(is_down=False, since=now, last_outage=outage)
    segment = SimpleNamespace(planned_at=now - timedelta(seconds=200))
    period = PausePeriod(kind=SENDING, began_at=outage[0], ended_at=outage[1])

    def waited(paused: Paused) -> float:
        unused: Any = None
        available = Availability(
            WcId("wxid_bot"),
            lanes=unused,
            login=unused,
            accounts=SimpleNamespace(standing_of=lambda _: standing),  # type: ignore[arg-type]
            pace=unused,
            clock=unused,
            paused=lambda: paused,
        )
        return available.waited(segment)  # type: ignore[arg-type]

    assert (waited(Paused()), waited(Paused(periods=(period,)))) == (90, 0)
