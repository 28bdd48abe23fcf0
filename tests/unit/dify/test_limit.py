"""The adaptive limit and its gate."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from app.models.limit import Grant
from app.services.dify.gate import Gate
from app.services.dify.limit import Places, Share
from app.services.errors import DifyError, DifyOverloaded, DifyRejected, DifyUnavailable
from app.utils.clock import SystemClock


class HandClock(SystemClock):
    """Goes on when it is told to."""

    now = 100.0

    @override
    def monotonic(self) -> float:
        return self.now


def gate(initial: int, maximum: int = 64) -> Gate:
    """A gate at its beginning."""
    return Gate(Places(initial, maximum=maximum, clock=SystemClock()))


def granted(share: int, *, generation: int = 0, pace: int = 0, late: float = 0.0) -> Grant:
    """What the processes agreed on."""
    return Grant(share=share, limit=16.0, generation=generation, pace=pace, late=late)


def test_trouble_halves_a_share_down_to_one_and_successes_bring_back_what_was_given() -> None:
    """Before the others have heard; more than was given is not this process' to take."""
    share = Share.of(8)
    down = []
    for _ in range(5):
        share = share.after_trouble()
        down.append(share.slots)
    for _ in range(60):
        share = share.after_success()

    assert down == [4, 2, 1, 1, 1]
    assert share.slots == 8


def test_a_share_of_nothing_stays_nothing() -> None:
    """More processes than places: not every one has some."""
    share = Share.of(0)

    assert share.after_trouble().slots == share.after_success().slots == 0


@pytest.mark.parametrize(
    ("initial", "maximum", "slots"), [(16, 8, 8), (0, 8, 1), (-3, 0, 1), (5, 5, 5)]
)
def test_odd_settings_are_brought_into_order(initial: int, maximum: int, slots: int) -> None:
    """Between one and the maximum, and the maximum at least one."""
    assert gate(initial, maximum).slots == slots


async def settle() -> None:
    """Let every ready task run."""
    for _ in range(5):
        await asyncio.sleep(0)


class Callers:
    """Tasks that pass the gate and stay until they are let go."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.inside: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._go: dict[str, asyncio.Future[None]] = {}

    async def come(self, *names: str) -> None:
        """Line up in this order."""
        for name in names:
            self._go[name] = asyncio.get_running_loop().create_future()
            self.tasks[name] = asyncio.create_task(self._pass(name))
            await settle()

    async def leave(self, name: str, error: Exception | None = None) -> None:
        """End the block of one."""
        if error is None:
            self._go[name].set_result(None)
        else:
            self._go[name].set_exception(error)
        await asyncio.gather(self.tasks[name], return_exceptions=True)
        await settle()

    async def cancel(self, *names: str) -> None:
        """Cancel these at the same moment."""
        for name in names:
            self.tasks[name].cancel()
        await asyncio.gather(*(self.tasks[name] for name in names), return_exceptions=True)
        await settle()

    async def _pass(self, name: str) -> None:
        async with self.gate.slot():
            self.inside.append(name)
            await self._go[name]


async def test_callers_pass_in_the_order_they_came() -> None:
    """First come, first served; the rest waits and is counted."""
    callers = Callers(gate(2, maximum=2))
    await callers.come("a", "b", "c", "d")

    assert callers.inside == ["a", "b"]
    assert (callers.gate.in_use, callers.gate.waiting, callers.gate.is_full) == (2, 2, True)
    await callers.leave("b")
    assert callers.inside == ["a", "b", "c"]
    for name in ("a", "c", "d"):
        await callers.leave(name)
    assert callers.inside == ["a", "b", "c", "d"]
    assert (callers.gate.in_use, callers.gate.waiting, callers.gate.is_full) == (0, 0, False)


async def test_nobody_overtakes_those_who_wait() -> None:
    """A place that becomes free belongs to the head of the line."""
    callers = Callers(gate(1, maximum=1))
    await callers.come("a", "b")
    callers._go["a"].set_result(None)
    await callers.come("c")

    assert callers.inside == ["a", "b"]
    await callers.cancel("b", "c")


async def test_cancelled_waiter_leaves_the_line() -> None:
    """Those behind it move up, and nothing is lost."""
    callers = Callers(gate(1, maximum=1))
    await callers.come("a", "b", "c")
    await callers.cancel("b")
    await callers.leave("a")

    assert callers.inside == ["a", "c"]
    await callers.leave("c")
    assert (callers.gate.in_use, callers.gate.waiting) == (0, 0)


async def test_waiter_cancelled_while_it_is_let_through_gives_the_place_on() -> None:
    """The narrow moment between being chosen and running."""
    callers = Callers(gate(1, maximum=1))
    await callers.come("a", "b", "c")
    callers._go["a"].set_result(None)
    await asyncio.sleep(0)
    assert (callers.gate.waiting, callers.inside) == (1, ["a"])
    await callers.cancel("b")

    assert callers.inside == ["a", "c"]
    await callers.leave("c")
    assert callers.gate.in_use == 0


async def test_all_waiters_cancelled_at_once_leave_an_empty_gate() -> None:
    """Shutdown."""
    callers = Callers(gate(1, maximum=1))
    await callers.come("a", "b", "c", "d")
    await callers.cancel("a", "b", "c", "d")

    assert (callers.gate.in_use, callers.gate.waiting) == (0, 0)


@pytest.mark.parametrize(
    ("error", "slots"),
    [
        (DifyOverloaded("x"), 4),
        (DifyUnavailable("x"), 4),
        (DifyRejected("x"), 8),
        (ValueError("x"), 8),
    ],
)
async def test_only_load_lowers_the_limit(error: Exception, slots: int) -> None:
    """A wrong key says nothing about how much the app takes."""
    callers = Callers(gate(8))
    await callers.come("a")
    await callers.leave("a", error)

    assert callers.gate.slots == slots


async def test_one_burst_of_trouble_halves_once() -> None:
    """Callers of the same moment tell the same news."""
    callers = Callers(gate(8))
    await callers.come(*"abcdefgh")
    for name in "abcdefgh":
        await callers.leave(name, DifyOverloaded("x"))
    assert callers.gate.slots == 4

    await callers.come("next")
    await callers.leave("next", DifyOverloaded("x"))
    assert callers.gate.slots == 2


async def test_lowered_limit_holds_newcomers_until_enough_have_left() -> None:
    """More than the limit may still be in flight."""
    callers = Callers(gate(4))
    await callers.come(*"abcd")
    await callers.leave("a", DifyUnavailable("x"))
    await callers.come("e")
    assert callers.inside == [*"abcd"]
    await callers.leave("b", DifyRejected("x"))
    assert callers.inside == [*"abcd"]
    await callers.leave("c", DifyRejected("x"))
    assert callers.inside == [*"abcde"]
    await callers.cancel("d", "e")


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["come", "leave", "fail", "cancel"]), st.integers(0, 9)),
        max_size=40,
    )
)
async def test_gate_never_loses_a_place(steps: list[tuple[str, int]]) -> None:
    """Any order of coming, leaving, failing and cancelling: full use, and empty at the end."""
    callers = Callers(gate(3, maximum=4))
    open_names: list[str] = []
    async with AsyncExitStack() as stack:
        for number, (step, pick) in enumerate(steps):
            if step == "come":
                open_names.append(str(number))
                await callers.come(str(number))
            elif open_names:
                name = open_names.pop(pick % len(open_names))
                if step == "cancel" or name not in callers.inside:
                    await callers.cancel(name)
                else:
                    await callers.leave(name, DifyError("x") if step == "leave" else None)
            assert callers.gate.in_use + callers.gate.waiting == len(open_names)
            assert not callers.gate.waiting or callers.gate.in_use >= callers.gate.slots
        stack.push_async_callback(callers.cancel, *open_names)

    assert (callers.gate.in_use, callers.gate.waiting) == (0, 0)


async def test_a_grant_lets_those_in_who_wait_and_a_smaller_one_throws_nobody_out() -> None:
    """Whoever is in flight stays; nobody new comes until enough have left."""
    callers = Callers(gate(2))
    await callers.come("a", "b", "c", "d")
    callers.gate.take(granted(3))
    await settle()
    assert callers.inside == ["a", "b", "c"]

    callers.gate.take(granted(0))
    await callers.leave("a")
    assert (callers.inside, callers.gate.in_use) == (["a", "b", "c"], 2)
    callers.gate.take(granted(3))
    await settle()
    assert callers.inside == [*"abcd"]
    await callers.cancel(*"bcd")


async def test_what_is_told_is_told_once() -> None:
    """Successes of full moments, the press, and the most that were there since the last time."""
    callers = Callers(gate(2))
    await callers.come("a", "b", "c")
    callers.gate.press()
    await callers.leave("a")
    await callers.leave("b")
    first, second = callers.gate.news(), callers.gate.news()

    assert (first.successes, first.is_pressed, first.in_use, first.wanted) == (2, True, 1, 7)
    assert (second.successes, second.is_pressed, second.in_use, second.wanted) == (0, False, 1, 2)
    await callers.cancel("c")


async def test_answers_of_calm_moments_say_nothing_about_a_higher_limit() -> None:
    """A limit of which less than half is used was not tried."""
    callers = Callers(gate(8))
    await callers.come("a", "b", "c")
    for name in "abc":
        await callers.leave(name)
    assert callers.gate.news().successes == 0

    await callers.come("d", "e", "f", "g")
    for name in "defg":
        await callers.leave(name)
    assert callers.gate.news().successes == 1


async def test_trouble_is_urgent_and_told_with_its_generation() -> None:
    """What came in before the last cut, by whomever, is no news to the others."""
    callers = Callers(gate(4))
    await callers.come("a", "b")
    callers.gate.take(granted(4, generation=1))
    callers.gate.is_urgent.clear()
    await callers.leave("a", DifyOverloaded("429"))
    assert not callers.gate.is_urgent.is_set()
    assert callers.gate.news().trouble == ""

    await callers.come("c")
    await callers.leave("c", DifyOverloaded("429"))
    assert callers.gate.is_urgent.is_set()
    news = callers.gate.news()
    assert (news.trouble, news.generation) == ("dify_overloaded", 1)
    await callers.cancel("b")


async def test_trouble_that_could_not_be_told_is_told_the_next_time() -> None:
    """Redis was away; and a grant that did not know of it does not undo the halving."""
    callers = Callers(gate(8))
    await callers.come("a")
    await callers.leave("a", DifyUnavailable("x"))
    callers.gate.keep(callers.gate.news())
    callers.gate.take(granted(8))

    assert callers.gate.slots == 4
    assert callers.gate.news().trouble == "dify_unavailable"
    callers.gate.take(granted(6, generation=1))
    assert callers.gate.slots == 6


async def test_more_to_do_than_was_told_is_urgent() -> None:
    """Once: it is told as twice as much, so the next callers are no news."""
    callers = Callers(gate(2))
    await callers.come("a")
    assert callers.gate.is_urgent.is_set()
    assert callers.gate.news().wanted == 2
    await callers.come("b")
    assert not callers.gate.is_urgent.is_set()
    assert callers.gate.news().wanted == 5
    await callers.come("c", "d", "e")
    assert not callers.gate.is_urgent.is_set()
    await callers.come("f")
    assert callers.gate.is_urgent.is_set()
    await callers.cancel(*"abcdef")


async def test_a_gate_with_room_or_without_anybody_does_not_press() -> None:
    """Nobody waits for Dify."""
    callers = Callers(gate(2))
    await callers.come("a")
    callers.gate.press()
    assert not callers.gate.news().is_pressed
    await callers.leave("a")
    callers.gate.take(granted(0))
    callers.gate.press()

    assert not callers.gate.news().is_pressed


def test_a_press_is_doubtful_while_those_who_came_last_have_no_first_byte() -> None:
    """Until one of them has it in good time; before it is known what that is there is no doubt."""
    clock = HandClock()
    places = Places(2, maximum=64, clock=clock)
    place = places.enter()
    clock.now += 10
    places.press()
    assert places.news(0).is_pressed
    places.press()
    assert not places.news(0).is_doubtful

    places.take(granted(2, late=3.0))
    places.press()
    assert places.news(0).is_doubtful
    places.hear(places.enter(), 1.0)
    places.press()
    assert not places.news(0).is_doubtful
    places.hear(place, 20.0)
    places.press()
    assert not places.news(0).is_doubtful


def test_first_bytes_are_told_apart_by_how_full_it_was_and_only_those_of_now() -> None:
    """Once per question; whoever came before the limit changed waited behind others than now."""
    places = Places(2, maximum=64, clock=HandClock())
    former = places.enter()
    places.take(granted(2, pace=1))
    places.hear(former, 9.0)
    places.leave(former)
    alone, full = places.enter(), places.enter()
    for seconds in (1.0, 5.0):
        places.hear(alone, seconds)
    places.hear(full, 2.0)
    news = places.news(0)

    assert (news.pace, news.calm, news.full) == (1, (1.0,), (2.0,))


def test_a_late_answer_is_no_reason_for_more_at_once() -> None:
    """It came; more at once would have waited longer."""
    places = Places(1, maximum=64, clock=HandClock())
    places.take(granted(1, late=1.0))
    for seconds in (0.5, 2.0):
        place = places.enter()
        places.hear(place, seconds)
        places.succeed(place)

    assert places.news(0).successes == 1
