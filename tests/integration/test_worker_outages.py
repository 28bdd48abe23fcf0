"""The answer loop while Dify or an account is down: who waits, who probes, who is given up."""

from typing import Any

import pytest

from app.api.breakers import refresh_breakers, shown_breakers
from app.models.flow import WcId
from app.services.errors import QueueUnavailable
from app.services.queue.breakers import account_peer
from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from tests.fixtures.inside import INSIDE_EMBEDDED, Inside, StartInside

NO_RETRY = {"MESSAGE_PROCESSING_MAX_RETRY_COUNT": "0"}


@pytest.fixture(autouse=True)
def quick_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of a fifth of a second."""
    monkeypatch.setattr("app.services.queue.breakers.FIRST_PAUSE", 0.2)
    monkeypatch.setattr("app.services.queue.breakers.LONGEST_PAUSE", 0.2)
    monkeypatch.setattr("app.services.queue.breakers.NEXT_PROBE", 0.1)
    monkeypatch.setattr("app.workers.parking.LOOK_SECONDS", 0.05)


def queries(dify: DifySimulator) -> list[str]:
    """The first words of what Dify was asked, in order."""
    return [str(record.facts.get("query", "?")).split()[0] for record in dify.questions()]


def bot_of(gateway: EcloudSimulator) -> WcId:
    """The account of the gateway's world."""
    return WcId(next(iter(gateway.world.accounts)))


def metric(bridge: Inside, name: str, **labels: str) -> float:
    """One value as Prometheus would get it."""
    return bridge.runtime.metrics.registry.get_sample_value(name, labels) or 0.0


async def test_an_outage_costs_no_attempt_and_buries_nothing(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Not even where no retry is allowed; afterwards all is answered, in order. Only the try that
    opened the breaker counts."""
    dify.faults.set("down", times=10_000)
    async with inside(**NO_RETRY) as bridge:
        await bridge.hear("一 [[text=甲]]")
        await bridge.hear("二 [[text=乙]]")
        await bridge.until_parked(1)
        asked = len(dify.questions())
        await dify.recorder.until(lambda: len(dify.questions()) >= asked + 2)
        waiting = await bridge.rows("SELECT state, attempts FROM messages ORDER BY id")
        dify.faults.clear()
        messages = await bridge.until_settled(2)

        assert metric(bridge, "bridge_messages_total", outcome="parked") >= 3
        assert metric(bridge, "bridge_messages_total", outcome="dead") == 0
    assert [row["attempts"] for row in waiting] == [1, 0]
    assert [message["verdict"] for message in messages] == ["answered"] * 2
    assert [one.content[-1] for one in gateway.sent] == ["甲", "乙"]


async def test_a_message_that_makes_dify_fail_does_not_keep_others_from_being_answered(
    inside: StartInside, dify: DifySimulator
) -> None:
    """It opened the breaker; the next probe is somebody else's, and then it is to blame."""
    async with inside(**NO_RETRY) as bridge:
        await bridge.hear("毒 [[fail=500]]")
        await bridge.until_parked(1)
        await bridge.hear("二 [[text=好]]", person="小红")
        messages = await bridge.until_settled(2)

    assert [message["verdict"] for message in messages] == ["failed:dify_unavailable", "answered"]
    assert queries(dify)[-1] == "毒"


async def test_an_outage_buries_what_is_older_than_the_setting_says(
    inside: StartInside, dify: DifySimulator
) -> None:
    """With its cause, and all that the user asked behind it."""
    dify.faults.set("down", times=10_000)
    async with inside(MESSAGE_PROCESSING_OUTAGE_MAX_WAIT="1", **NO_RETRY) as bridge:
        await bridge.hear("一")
        await bridge.hear("二")
        messages = await bridge.until_settled(2)

    assert [message["verdict"] for message in messages] == ["failed:dify_unavailable"] * 2
    assert messages[0]["error"]


@INSIDE_EMBEDDED
async def test_too_many_requests_open_nothing(inside: StartInside, dify: DifySimulator) -> None:
    """Dify is there; it is asked more slowly."""
    dify.faults.set("http_429", times=12)
    async with inside(MESSAGE_PROCESSING_RETRY_DELAY="0.05") as bridge:
        await bridge.hear("一 [[text=好]]")
        await bridge.until_settled(1)

        assert metric(bridge, "bridge_messages_total", outcome="wait") == 12
        assert metric(bridge, "bridge_messages_total", outcome="parked") == 0


@INSIDE_EMBEDDED
async def test_a_probe_that_dify_rejects_closes_the_breaker(
    inside: StartInside, dify: DifySimulator
) -> None:
    """Dify speaks again, if only to say no."""
    dify.faults.set("down", times=10_000)
    async with inside(**NO_RETRY) as bridge:
        await bridge.hear("错 [[fail=400]]")
        await bridge.until_parked(1)
        dify.faults.clear()
        [message] = await bridge.until_settled(1)

        assert await bridge.runtime.breakers.states() == []
    assert message["verdict"] == "failed:dify_rejected"


async def test_users_of_an_account_that_cannot_send_are_parked_and_dify_is_not_asked(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Its sender said so; once it says the contrary they go on."""
    async with inside() as bridge:
        peer = account_peer(bot_of(gateway))
        await bridge.runtime.breakers.open_for(peer, 60, "ecloud_unavailable")
        await bridge.hear("一 [[text=好]]")
        await bridge.until_parked(1)
        [row] = await bridge.rows("SELECT state, attempts, crashes FROM messages")

        assert await bridge.runtime.queue.parked_peers() == {peer: 1}
        assert (row["state"], row["attempts"], row["crashes"]) == ("received", 0, 0)
        assert dify.questions() == []
        await refresh_breakers(bridge.runtime)
        [shown] = await shown_breakers(bridge.runtime)
        assert metric(bridge, "bridge_breaker_open", peer="account") == 1
        assert metric(bridge, "bridge_breaker_open", peer="dify") == 0
        assert metric(bridge, "bridge_parked_users") == 1
        assert (shown["peer"], shown["code"], shown["parked_users"]) == (
            "account",
            "ecloud_unavailable",
            1,
        )
        await bridge.runtime.breakers.ok(peer)
        [message] = await bridge.until_settled(1)
    assert message["verdict"] == "answered"


@INSIDE_EMBEDDED
async def test_who_was_left_parked_behind_a_closed_breaker_goes_on(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """The process that closed it died before it let anybody go: the keepers look."""
    dify.faults.set("down", times=10_000)
    async with inside(**NO_RETRY) as bridge:
        await bridge.hear("一 [[text=好]]")
        await bridge.until_parked(1)
        dify.faults.clear()
        await bridge.runtime.redis.delete("ecloud:breaker:dify:default")
        await bridge.until_settled(1)

    assert len(gateway.sent) == 1


@INSIDE_EMBEDDED
async def test_where_nothing_failed_a_message_costs_one_look_and_no_more(
    inside: StartInside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Success is told only where there is something to clear."""
    async with inside() as bridge:
        names: list[str] = []
        breakers = bridge.runtime.breakers
        original = breakers._run

        async def run(name: str, *argv: Any) -> Any:
            if not str(argv[0]).startswith("account:"):  # a sender tells once that it works
                names.append(name)
            return await original(name, *argv)

        monkeypatch.setattr(breakers, "_run", run)
        await bridge.hear("一 [[text=好]]")
        await bridge.until_settled(1)
        assert names == ["look"]

        await bridge.hear("二 [[fail=500;times=1]] [[text=好]]")
        await bridge.until_settled(2)
    assert names == ["look", "look", "failed", "look", "ok"]


@INSIDE_EMBEDDED
async def test_breakers_that_cannot_be_read_stop_nobody(
    inside: StartInside, dify: DifySimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Retries and their bound are as ever."""

    async def away(*_: object) -> None:
        raise QueueUnavailable("away")

    async with inside(MESSAGE_PROCESSING_MAX_RETRY_COUNT="1") as bridge:
        monkeypatch.setattr(bridge.runtime.breakers, "_run", away)
        await bridge.hear("一 [[fail=500]]")
        [message] = await bridge.until_settled(1)

    assert message["verdict"] == "failed:dify_unavailable"
    assert len(dify.questions()) == 2


@INSIDE_EMBEDDED
async def test_a_stop_leaves_the_probe_to_somebody_else(
    inside: StartInside, dify: DifySimulator
) -> None:
    """The place is free at once, not after half a minute."""
    dify.faults.set("down", times=10_000)
    async with inside(**NO_RETRY) as bridge:
        await bridge.hear("一 [[wait=30]]")
        await bridge.until_parked(1)
        dify.faults.clear()
        await dify.recorder.until(lambda: "一" in queries(dify))
        assert await bridge.runtime.redis.hget("ecloud:breaker:dify:default", "probe")
        bridge.background.hurry()
        await bridge.background.stop()

        assert not await bridge.runtime.redis.hget("ecloud:breaker:dify:default", "probe")
