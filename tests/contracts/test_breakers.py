"""Breakers: when they open, who may probe, what closes them; shared by all processes."""

import asyncio

import pytest

from app.models.flow import WcId
from app.services.queue.breakers import (
    NO_ANSWER,
    NO_WEIGHT,
    NOBODY_THERE,
    BreakerLook,
    Breakers,
    BreakerState,
    account_peer,
    dify_peer,
    kind_of,
)
from tests.contracts.queue_steps import ANN, BEN, Hands
from tests.fixtures.redis import RedisEngine

DIFY = dify_peer("default")
ACCOUNT = account_peer(WcId("wxid_bot"))
CLOSED, OPEN, PROBE = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.PROBE
CODE = "dify_unavailable"


class Board:
    """Breakers as two processes have them, and the time that passes for them."""

    def __init__(self, engine: RedisEngine) -> None:
        self.redis = engine.redis
        self.keys = engine.keys
        self.here, self.there = (
            Breakers(engine.client(), probe_seconds=30, namespace=engine.keys.namespace)
            for _ in range(2)
        )

    @property
    def key(self) -> str:
        """Where Dify's breaker is."""
        return f"{self.keys.breakers}:{DIFY}"

    async def state(self, user: WcId = ANN, peer: str = DIFY) -> BreakerState:
        """What one look says."""
        [look] = await self.there.look([peer], user)
        return look.state

    async def open(self) -> None:
        """Three failures of the kind "nobody there"."""
        for _ in range(3):
            await self.here.failed(DIFY, ANN, CODE, NOBODY_THERE)

    async def pass_pause(self) -> None:
        """The next probe is due."""
        await self.redis.hset(self.key, "until_ms", 1)

    async def pass_probe(self) -> None:
        """The probe gave no sign of life in its time."""
        await self.redis.hset(self.key, "probe_until_ms", 1)

    async def pause(self) -> float:
        """Seconds of the present pause."""
        return float(await self.redis.hget(self.key, "pause_ms") or 0) / 1000


@pytest.fixture
def board(redis_engine: RedisEngine) -> Board:
    """On both engines."""
    return Board(redis_engine)


# Opening


@pytest.mark.parametrize(("weight", "opens_at"), [(NOBODY_THERE, 3), (NO_ANSWER, 8)])
async def test_it_opens_after_so_many_failures_in_a_row_over_all_processes(
    board: Board, log_lines: list[str], weight: int, opens_at: int
) -> None:
    """Three where nobody is there, eight of any kind; said once."""
    both = [board.here, board.there]
    told = [
        await both[number % 2].failed(DIFY, WcId(f"user-{number}"), CODE, weight)
        for number in range(opens_at + 1)
    ]

    assert told == [False] * (opens_at - 1) + [True] * 2
    assert await board.state() is OPEN
    assert len([line for line in log_lines if "breaker.opened" in line]) == 1


async def test_a_success_of_anybody_in_between_sets_the_count_back(board: Board) -> None:
    """Two and two are not three in a row."""
    for _ in range(2):
        for breakers in (board.here, board.there):
            assert not await breakers.failed(DIFY, ANN, CODE, NOBODY_THERE)
        assert not await board.there.ok(DIFY)

    [look] = await board.here.look([DIFY], ANN)
    assert look == BreakerLook(peer=DIFY, state=CLOSED, has_failures=False)
    assert await board.redis.exists(board.key) == 0


async def test_a_look_says_whether_a_success_has_something_to_clear(board: Board) -> None:
    """So that a message costs no second round trip where all is well."""
    await board.here.failed(DIFY, ANN, CODE, NO_ANSWER)

    [look] = await board.there.look([DIFY], BEN)

    assert look == BreakerLook(peer=DIFY, state=CLOSED, has_failures=True)


async def test_failures_that_do_not_weigh_never_open(board: Board) -> None:
    """They only end a probe."""
    told = [await board.here.failed(DIFY, ANN, CODE, NO_WEIGHT) for _ in range(40)]

    assert not any(told)


async def test_the_last_try_opens_if_nobody_had_a_success_since_the_first(board: Board) -> None:
    """Two tries of Ann in a row without any success: instead of giving her message up."""
    await board.there.ok(DIFY)
    assert not await board.here.failed(DIFY, ANN, CODE, NO_ANSWER)
    assert not await board.here.failed(DIFY, BEN, CODE, NO_ANSWER, last_try=2)

    assert await board.there.failed(DIFY, ANN, CODE, NO_ANSWER, last_try=2)
    assert await board.state() is OPEN


async def test_the_last_try_opens_where_the_former_ones_are_forgotten(board: Board) -> None:
    """Redis was wiped, or an embedded process was started anew, in the middle of an outage."""
    assert await board.here.failed(DIFY, ANN, CODE, NO_ANSWER, last_try=4)


async def test_the_last_try_opens_nothing_if_somebody_had_a_success_since_the_first(
    board: Board,
) -> None:
    """The peer answers; the message is to blame."""
    await board.here.failed(DIFY, ANN, CODE, NO_ANSWER)
    await board.there.ok(DIFY)

    assert not await board.here.failed(DIFY, ANN, CODE, NO_ANSWER, last_try=2)
    assert await board.state() is CLOSED


async def test_failures_nobody_adds_to_are_forgotten_after_a_day(board: Board) -> None:
    """An open breaker is not: it waits for its probe."""
    await board.here.failed(DIFY, ANN, CODE, NOBODY_THERE)
    assert 86_000 < await board.redis.ttl(board.key) <= 86_400

    await board.open()
    assert await board.redis.ttl(board.key) == -1


# Probing


async def test_nobody_probes_before_the_first_pause_is_over(board: Board) -> None:
    """Two seconds."""
    await board.open()

    assert await board.state() is OPEN
    assert await board.pause() == 2
    [state] = await board.here.states()
    assert 1 < state.pause_left <= 2


async def test_one_user_probes_at_a_time_over_all_processes(
    board: Board, log_lines: list[str]
) -> None:
    """Twenty ask at once."""
    await board.open()
    await board.pass_pause()

    both = [board.here, board.there]
    looks = await asyncio.gather(
        *(both[number % 2].look([DIFY], WcId(f"user-{number}")) for number in range(20))
    )

    assert sorted(look.state for [look] in looks) == [OPEN] * 19 + [PROBE]
    assert len([line for line in log_lines if "breaker.probe" in line]) == 1


async def test_each_failed_probe_doubles_the_pause_to_thirty_seconds(board: Board) -> None:
    """Less than one call a second, however long it lasts."""
    await board.open()
    pauses = []
    for _ in range(6):
        await board.pass_pause()
        assert await board.state() is PROBE
        assert await board.here.failed(DIFY, ANN, CODE, NO_ANSWER)
        assert await board.state() is OPEN
        pauses.append(await board.pause())

    assert pauses == [4, 8, 16, 30, 30, 30]


async def test_failures_of_stragglers_change_nothing_while_it_is_open(board: Board) -> None:
    """They were asked before it opened."""
    await board.open()
    await board.pass_pause()
    before = await board.redis.hgetall(board.key)

    assert await board.here.failed(DIFY, BEN, CODE, NOBODY_THERE)

    assert await board.redis.hgetall(board.key) == before
    assert await board.state() is PROBE


async def test_a_probe_that_died_makes_room_for_another_one(board: Board) -> None:
    """Its process was killed: no sign of life came."""
    await board.open()
    await board.pass_pause()
    assert await board.state(ANN) is PROBE
    assert await board.state(BEN) is OPEN
    assert await board.here.keep_probe(DIFY, ANN)
    assert await board.state(BEN) is OPEN

    await board.pass_probe()

    assert await board.state(BEN) is PROBE
    assert not await board.here.keep_probe(DIFY, ANN)


async def test_a_sign_of_life_keeps_the_probe(board: Board) -> None:
    """Dify takes its time."""
    await board.open()
    await board.pass_pause()
    assert await board.state(ANN) is PROBE
    await board.pass_probe()

    assert await board.here.keep_probe(DIFY, ANN)

    assert await board.state(BEN) is OPEN


async def test_a_probe_that_told_nothing_is_followed_by_another_a_second_later(
    board: Board,
) -> None:
    """The process stopped, or its own database was away."""
    await board.open()
    await board.pass_pause()
    assert await board.state(ANN) is PROBE
    await board.here.end_probe(DIFY, BEN)
    assert await board.state(BEN) is OPEN

    await board.here.end_probe(DIFY, ANN)

    [state] = await board.here.states()
    assert 0 < state.pause_left <= 1
    assert await board.pause() == 2
    await board.pass_pause()
    assert await board.state(BEN) is PROBE


async def test_one_parked_user_at_a_time_is_let_go_for_the_probe(board: Board) -> None:
    """Nobody before it is due, nobody while one is on the way or probes."""
    assert not await board.here.invite(DIFY)
    await board.open()
    assert not await board.here.invite(DIFY)
    await board.pass_pause()

    assert await board.here.invite(DIFY)
    assert not await board.there.invite(DIFY)

    assert await board.state() is PROBE
    assert not await board.there.invite(DIFY)
    await board.pass_probe()
    assert await board.there.invite(DIFY)


async def test_nobody_probes_one_peer_while_the_other_is_open(board: Board) -> None:
    """The question would not be asked: the place stays free for somebody else."""
    await board.open()
    await board.pass_pause()
    await board.here.open_for(ACCOUNT, 60, "ecloud_unavailable")

    looks = await board.there.look([ACCOUNT, DIFY], ANN)

    assert [look.state for look in looks] == [OPEN, PROBE]
    assert await board.redis.hget(board.key, "probe") is None
    assert await board.state(BEN) is PROBE


# Closing


async def test_the_probes_success_closes_it(board: Board, log_lines: list[str]) -> None:
    """Only one hears that it did; it begins anew."""
    await board.open()
    await board.pass_pause()
    assert await board.state() is PROBE

    assert await board.here.ok(DIFY)
    assert not await board.there.ok(DIFY)

    assert await board.state() is CLOSED
    assert await board.here.states() == []
    assert await board.redis.exists(board.key, board.keys.breakers) == 0
    assert len([line for line in log_lines if "breaker.closed" in line]) == 1


async def test_a_success_that_began_before_it_opened_does_not_close_it(board: Board) -> None:
    """A long stream that was under way says nothing about now."""
    await board.open()

    assert not await board.here.ok(DIFY, closes=False)

    assert await board.state() is OPEN


async def test_a_straggler_clears_the_failures_of_a_closed_one(board: Board) -> None:
    """It is an answer, after all."""
    await board.here.failed(DIFY, ANN, CODE, NOBODY_THERE)

    await board.there.ok(DIFY, closes=False)

    assert await board.redis.exists(board.key) == 0


# Accounts


async def test_an_account_is_left_alone_for_as_long_as_its_sender_says(
    board: Board, log_lines: list[str]
) -> None:
    """Said again it lasts longer, and is still the same outage."""
    assert await board.here.open_for(ACCOUNT, 60, "ecloud_unavailable")
    [first] = await board.there.states()
    assert not await board.there.open_for(ACCOUNT, 300, "ecloud_unauthorized")

    assert await board.state(peer=ACCOUNT) is OPEN
    [state] = await board.here.states()
    assert (state.peer, state.code) == (ACCOUNT, "ecloud_unauthorized")
    assert (state.opened_at, 299 < state.pause_left <= 300) == (first.opened_at, True)
    assert await board.state(peer=DIFY) is CLOSED
    assert len([line for line in log_lines if "breaker.opened" in line]) == 1

    assert await board.here.ok(ACCOUNT)
    assert await board.state(peer=ACCOUNT) is CLOSED


async def test_an_account_whose_time_is_over_is_probed(board: Board) -> None:
    """Its sender may be dead; one user tries."""
    await board.here.open_for(ACCOUNT, 0.001, "ecloud_unavailable")
    await asyncio.sleep(0.01)

    assert await board.state(ANN, ACCOUNT) is PROBE
    assert await board.state(BEN, ACCOUNT) is OPEN


def test_the_kind_of_a_peer_names_nobody() -> None:
    """For metrics and health."""
    assert [kind_of(peer) for peer in (DIFY, ACCOUNT)] == ["dify", "account"]


# What stands in the way


async def test_open_ones_are_listed_since_when_and_why(board: Board, hands: Hands) -> None:
    """And what only failed is not."""
    await board.open()
    await board.here.failed(ACCOUNT, ANN, CODE, NO_ANSWER)
    seconds, _ = await hands.redis.time()

    [state] = await board.there.states()

    assert (state.peer, state.code) == (DIFY, CODE)
    assert abs(state.opened_at - seconds) < 5


async def test_a_wiped_redis_has_it_closed(board: Board) -> None:
    """Where its hash is gone the name goes, too."""
    await board.open()
    await board.redis.delete(board.key)

    assert await board.state() is CLOSED
    assert await board.here.states() == []
    assert await board.redis.exists(board.keys.breakers) == 0


@pytest.mark.parametrize("kind", ["string", "list", "set"])
async def test_odd_keys_read_as_closed_and_go_with_the_next_failure(
    board: Board, hands: Hands, kind: str
) -> None:
    """Made by hand: they stop nobody."""
    await hands.spoil(board.key, kind)
    await hands.spoil(board.keys.breakers, "hash")

    assert await board.state() is CLOSED
    assert await board.here.states() == []
    assert not await board.here.invite(DIFY)
    assert not await board.here.keep_probe(DIFY, ANN)
    await board.open()

    assert [state.peer for state in await board.there.states()] == [DIFY]
    await hands.spoil(board.key, kind)
    assert not await board.here.ok(DIFY)
    assert await board.here.open_for(DIFY, 9, CODE)


@pytest.fixture
def hands(redis_engine: RedisEngine) -> Hands:
    """The keys of the test."""
    return Hands(redis_engine)
