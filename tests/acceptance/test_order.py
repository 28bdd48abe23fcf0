"""One after the other for a person, side by side for different ones, in one process and in several."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from tests.fixtures.bridge import (
    ON_EMBEDDED,
    Bridge,
    Stores,
    embedded_stores,
    peer_variables,
    server_stores,
)
from tests.fixtures.crowd import Crowd, crowd_world
from tests.fixtures.redis_server import RedisServer


@pytest.fixture
async def gateway() -> AsyncIterator[EcloudSimulator]:
    """A gateway with a crowd."""
    async with EcloudSimulator.start(world=crowd_world()) as simulator:
        yield simulator


@pytest.fixture
def crowd(gateway: EcloudSimulator, dify: DifySimulator) -> Crowd:
    """Who speaks."""
    return Crowd(gateway, dify)


async def test_a_crowd_is_answered_in_order_side_by_side_and_fairly(
    bridge: Bridge, gateway: EcloudSimulator, dify: DifySimulator, crowd: Crowd
) -> None:
    """One slow person with many questions does not hold the others; each person's order is kept."""
    (slow_group, slow), *_ = crowd.people
    for number in range(3):
        word = f"{slow}#{number:03d}"
        crowd.said[slow].append(word)
        gateway.say(slow_group, slow, f"{word} [[wait=2]] [[text=<{word}>]]")
    await dify.recorder.until(lambda: len(dify.questions()) >= 1)

    crowd.speak(3, "[[wait=0.3]]")
    others = [person for _, person in crowd.people if person != slow]
    await gateway.recorder.until(
        lambda: all(len(crowd.answers()[person]) == 3 for person in others), 12
    )
    of_slow = len(crowd.answers()[slow])
    await crowd.until_answered(60)

    crowd.check()
    assert of_slow < 3
    assert dify.concurrency.max_active >= 4
    first_asked = [[r.facts["user"] for r in dify.questions()].index(person) for person in others]

    assert max(first_asked) <= 2 * len(others)
    groups = {person: group for group, person in crowd.people}
    for group in set(groups.values()):
        bodies = [one.content for one in gateway.sent if one.to == group]
        assert len(bodies) == sum(len(crowd.said[p]) for p, g in groups.items() if g == group)


@ON_EMBEDDED
async def test_slow_questions_in_all_places_do_not_hold_up_who_comes_later(
    idle_bridge: Bridge, gateway: EcloudSimulator, crowd: Crowd
) -> None:
    """As many slow answers as the limit allows at first: the quick one is there long before them."""
    await idle_bridge.start(DIFY_INITIAL_CONCURRENCY="2")
    (group, quick), *slow = crowd.people
    for place, person in slow[:2]:
        gateway.say(place, person, "慢 [[wait=15]] [[text=慢的回答]]")
    await crowd.dify.recorder.until(lambda: len(crowd.dify.questions()) == 2)
    gateway.say(group, quick, "快 [[text=快的回答]]")

    [first] = await gateway.wait_for_sent(1)

    assert "快的回答" in first.content


@pytest.mark.redis
@pytest.mark.mysql
@pytest.mark.parametrize("roles", [("all", "all"), ("api", "worker", "sender")])
async def test_several_processes_share_the_work_and_do_nothing_twice(
    tmp_path: Path,
    bridge_redis: RedisServer,
    mysql_url: str,
    gateway: EcloudSimulator,
    dify: DifySimulator,
    crowd: Crowd,
    roles: tuple[str, ...],
) -> None:
    """Two whole ones, or one for each part; callbacks go to the first and, doubled, to the last."""
    stores: Stores = server_stores(tmp_path, bridge_redis, mysql_url)
    bridges = [Bridge(stores, peer_variables(gateway, dify)) for _ in roles]
    try:
        for bridge, role in zip(bridges, roles, strict=True):
            await bridge.start("--role", role)
        gateway.callback_url = bridges[0].callback_url
        gateway.faults.set("duplicate", 1, probability=0.3)
        crowd.speak(4, "[[wait=0.1]]")
        if roles[-1] == "all":
            await crowd.gateway.recorder.until(lambda: len(gateway.sent) >= 5)
            gateway.callback_url = bridges[1].callback_url
            crowd.speak(2, "[[wait=0.1]]")
        await crowd.until_answered(60)
        shares = [bridge.log.count("message.claimed") for bridge in bridges]
        codes = [await bridge.stop() for bridge in bridges]
    finally:
        for bridge in bridges:
            bridge.kill()

    crowd.check()
    assert len(dify.questions()) == crowd.count
    assert codes == [0] * len(bridges)
    if roles == ("all", "all"):
        assert min(shares) > 0
    else:
        assert shares == [0, crowd.count, 0]


async def test_the_embedded_default_is_for_one_whole_process(
    tmp_path: Path, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """A second process and a part of one are refused in plain words; the first one goes on."""
    stores = embedded_stores(tmp_path)
    first, second, part = (Bridge(stores, peer_variables(gateway, dify)) for _ in range(3))
    try:
        await first.start()
        for refused, arguments in ((second, ()), (part, ("--role", "worker"))):
            assert await asyncio.to_thread(refused.launch(*arguments).wait, 20) == 1
        code = (await first.get("/api/v1/health"))[0]
    finally:
        for bridge in (first, second, part):
            bridge.kill()

    assert code == 200
    assert first.process is not None
    assert str(first.process.pid) in second.log
    assert "--role" in part.log
    assert "MySQL" in part.log
    for log in (second.log, part.log):
        assert "Traceback" not in log


async def test_an_unknown_role_is_refused(tmp_path: Path) -> None:
    """The message names the roles there are."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parents[2] / "main.py"), "--role", "boss"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )

    assert done.returncode == 2
    assert "worker" in done.stderr
