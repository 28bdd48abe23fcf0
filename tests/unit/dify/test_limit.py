"""The adaptive limit and its gate."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.dify.limit import CALM_PRESSES, AdaptiveLimit, Gate
from app.services.errors import DifyError, DifyOverloaded, DifyRejected, DifyUnavailable


def gate(initial: int, maximum: int = 64) -> Gate:
    """A gate at its beginning."""
    return Gate(AdaptiveLimit.starting_at(initial, maximum=maximum))


def test_as_many_successes_as_slots_give_about_one_slot() -> None:
    """Additive increase."""
    limit = AdaptiveLimit.starting_at(16, maximum=64)
    for _ in range(17):
        limit = limit.after_success()

    assert limit.slots == 17


def test_trouble_halves_down_to_one() -> None:
    """Multiplicative decrease; a limit of nothing would never recover."""
    limit = AdaptiveLimit.starting_at(16, maximum=64)
    slots = []
    for _ in range(6):
        limit = limit.after_trouble()
        slots.append(limit.slots)

    assert slots == [8, 4, 2, 1, 1, 1]


@pytest.mark.parametrize(
    ("initial", "maximum", "slots"), [(16, 8, 8), (0, 8, 1), (-3, 0, 1), (5, 5, 5)]
)
def test_odd_settings_are_brought_into_order(initial: int, maximum: int, slots: int) -> None:
    """Between one and the maximum, and the maximum at least one."""
    assert AdaptiveLimit.starting_at(initial, maximum=maximum).slots == slots


@given(steps=st.lists(st.booleans(), max_size=200), maximum=st.integers(1, 20))
def test_limit_stays_between_one_and_its_maximum(steps: list[bool], maximum: int) -> None:
    """Whatever happens."""
    limit = AdaptiveLimit.starting_at(4, maximum=maximum)
    for is_success in steps:
        limit = limit.after_success() if is_success else limit.after_trouble()
        assert 1 <= limit.slots <= maximum


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


async def test_success_raises_the_limit_to_its_maximum_only() -> None:
    """One by one."""
    grown = gate(2, maximum=3)
    for _ in range(20):
        async with grown.slot():
            pass

    assert grown.slots == 3


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


async def test_a_full_gate_that_is_pressed_opens_one_place_more() -> None:
    """Slow answers are no overload: who comes later does not wait for the first of them."""
    callers = Callers(gate(2))
    await callers.come("a", "b", "c", "d")

    callers.gate.press()
    await settle()

    assert callers.inside == ["a", "b", "c"]


async def test_a_gate_with_room_does_not_grow_by_presses() -> None:
    """Nobody waits."""
    callers = Callers(gate(2))
    await callers.come("a")

    callers.gate.press()

    assert callers.gate.slots == 2


async def test_after_trouble_presses_are_ignored_for_a_while() -> None:
    """What Dify refused a moment ago is not tried at once."""
    callers = Callers(gate(4))
    await callers.come("a", "b", "c", "d", "e", "f")
    await callers.leave("a", DifyOverloaded("429"))
    sizes = []
    for _ in range(CALM_PRESSES + 2):
        callers.gate.press()
        sizes.append(callers.gate.slots)

    assert sizes == [2] * CALM_PRESSES + [3, 4]


def test_presses_end_at_the_maximum() -> None:
    """The setting is the bound."""
    limit = AdaptiveLimit.starting_at(3, maximum=4)

    assert limit.after_press().after_press().slots == 4
