"""The health report: every dependency with its state, in time, and peers not asked too often."""

import asyncio

import pytest

from app.services import health as health_module
from app.services.errors import DifyRejected, StoreUnavailable
from app.services.health import Dependency, DependencyState, HealthReport, Probe
from tests.fixtures.stores import SwitchedStore


class HandClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def time(self) -> float:
        """As ``Clock``."""
        return self.now

    def monotonic(self) -> float:
        """As ``Clock``."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """As ``Clock``."""
        self.now += seconds


class Counted:
    """A check that counts its calls."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls = 0
        self.error = error

    async def __call__(self) -> None:
        self.calls += 1
        if self.error is not None:
            raise self.error


async def hang() -> None:
    """A check that never ends."""
    await asyncio.Event().wait()


@pytest.fixture
def clock() -> HandClock:
    """Stands still."""
    return HandClock()


async def look(clock: HandClock, **probes: Probe) -> dict[str, Dependency]:
    return await HealthReport(probes, clock).look()


async def test_a_dependency_that_answers_is_up(clock: HandClock) -> None:
    """With the time it took."""

    async def slow() -> None:
        clock.now += 0.25

    found = await look(clock, database=Probe(check=slow))

    assert found == {"database": Dependency(state=DependencyState.UP, latency_ms=250.0)}


async def test_a_dependency_that_fails_is_down_with_its_reason(clock: HandClock) -> None:
    """The others are not touched by it."""
    found = await look(
        clock,
        dify=Probe(check=Counted(DifyRejected("401 unauthorized"))),
        database=Probe(check=Counted()),
    )

    assert found["dify"].state is DependencyState.DOWN
    assert found["dify"].reason == "dify_rejected: 401 unauthorized"
    assert found["database"].state is DependencyState.UP
    assert list(found) == ["dify", "database"]


async def test_a_dependency_that_hangs_is_down_in_time(clock: HandClock) -> None:
    """All are asked side by side: several that hang cost the time of one."""
    async with asyncio.timeout(1):
        found = await look(clock, **{name: Probe(check=hang, patience=0.05) for name in "abcdefgh"})

    assert {one.state for one in found.values()} == {DependencyState.DOWN}
    assert {one.reason for one in found.values()} == {"0.05 秒内没有回应"}


async def test_a_busy_peer_is_slow_and_the_look_does_not_wait_for_it(
    clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check goes on; the next look shows how it ended, without asking again."""
    monkeypatch.setattr(health_module, "LOOK_SECONDS", 0.02)
    answers, check = asyncio.Event(), Counted()

    async def busy() -> None:
        await check()
        await answers.wait()
        clock.now += 3.5

    report = HealthReport({"dify": Probe(check=busy, patience=10.0, keep=15.0)}, clock)
    first, second = await report.look(), await report.look()
    answers.set()
    await asyncio.sleep(0)
    third = await report.look()

    assert first["dify"].state is second["dify"].state is DependencyState.SLOW
    assert first["dify"].reason.endswith("检查仍在进行")
    assert third["dify"] == Dependency(
        state=DependencyState.SLOW, latency_ms=3500.0, reason="回应很慢"
    )
    assert check.calls == 1


async def test_a_peer_that_is_busy_for_too_long_is_down(
    clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patience has an end."""
    monkeypatch.setattr(health_module, "LOOK_SECONDS", 0.01)
    report = HealthReport({"dify": Probe(check=hang, patience=0.05)}, clock)

    states = [(await report.look())["dify"].state]
    async with asyncio.timeout(1):
        while states[-1] is not DependencyState.DOWN:
            states.append((await report.look())["dify"].state)

    assert states[0] is DependencyState.SLOW


async def test_missing_settings_are_named_and_nothing_is_asked(clock: HandClock) -> None:
    """A fresh installation is not broken, it is incomplete."""
    check = Counted()

    found = await look(clock, dify=Probe(check=check, missing=("DIFY_BASE_URL", "DIFY_API_KEY")))

    assert found["dify"].state is DependencyState.NOT_CONFIGURED
    assert found["dify"].reason == "未配置:DIFY_BASE_URL、DIFY_API_KEY"
    assert check.calls == 0


async def test_a_result_is_kept_as_long_as_its_probe_says(clock: HandClock) -> None:
    """Probes come every second from several sides; peers are asked rarely, failures included."""
    often, rarely = Counted(), Counted(DifyRejected("401"))
    report = HealthReport(
        {"often": Probe(check=often, keep=1), "rarely": Probe(check=rarely, keep=15)}, clock
    )

    for _ in range(31):
        await report.look()
        clock.now += 1.0

    assert often.calls == 31
    assert rarely.calls == 3


async def test_a_fault_of_ours_in_a_check_is_told_like_any_other(clock: HandClock) -> None:
    """The page that shows what is wrong must not be what is wrong."""
    found = await look(clock, odd=Probe(check=Counted(KeyError("x"))))

    assert found["odd"].state is DependencyState.DOWN
    assert found["odd"].reason == "KeyError: 'x'"


async def test_a_database_that_goes_and_comes_is_shown(
    clock: HandClock, switch: SwitchedStore
) -> None:
    """On the real thing."""
    report = HealthReport({"database": Probe(check=switch.ping, keep=0)}, clock)
    assert (await report.look())["database"].state is DependencyState.UP
    switch.is_away = True
    down = (await report.look())["database"]
    assert down.state is DependencyState.DOWN
    assert down.reason.startswith(StoreUnavailable.code)

    switch.is_away = False

    assert (await report.look())["database"].state is DependencyState.UP


async def test_who_looks_while_a_check_runs_shares_its_result(clock: HandClock) -> None:
    """A hundred looks at once are one question to the peer."""
    check = Counted()
    report = HealthReport({"ecloud": Probe(check=check, keep=15.0)}, clock)

    await asyncio.gather(*(report.look() for _ in range(100)))

    assert check.calls == 1


async def test_a_reason_names_no_user_and_no_host(clock: HandClock) -> None:
    """The report is open to whoever reaches the port."""
    error = StoreUnavailable("database: 1045 Access denied for user 'boss'@'10.0.0.7'")

    found = await look(clock, database=Probe(check=Counted(error)))

    assert "1045 Access denied" in found["database"].reason
    assert "boss" not in found["database"].reason
    assert "10.0.0.7" not in found["database"].reason
