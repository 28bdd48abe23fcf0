"""What is known of an app's moderation: learnt beside the answers, kept, and asked for now and then."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from typing_extensions import override

from app.services.dify import moderation
from app.services.dify.moderation import MAX_AGE, Moderation
from app.utils.clock import SystemClock
from tests.unit.dify.conftest import ClientMaker, FakeDify, Script, Seen, Wire


class HandClock(SystemClock):
    """Goes on by what it is told."""

    ahead = 0.0

    @override
    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


def says(avoidance: Any, status: str = "200 OK") -> Script:
    """An answer of ``/parameters``."""

    async def script(_seen: Seen, wire: Wire) -> None:
        await wire.reply(status, json.dumps({"sensitive_word_avoidance": avoidance}).encode())

    return script


async def hangs(_seen: Seen, wire: Wire) -> None:
    """No answer of ``/parameters``."""
    await wire.hang()


def outputs(*, enabled: bool) -> dict[str, Any]:
    """As the console saves it."""
    config = {"inputs_config": {"enabled": True}, "outputs_config": {"enabled": enabled}}
    return {"enabled": True, "type": "keywords", "config": config}


OFF = {"enabled": False, "type": "", "configs": []}
ON = outputs(enabled=True)


async def learn(known: Moderation, is_reached: Callable[[], object]) -> None:
    """Let it learn until something is reached."""
    async with known.learning(), asyncio.timeout(5):
        while not is_reached():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("avoidance", "may"),
    [
        (OFF, False),
        (None, False),
        (ON, True),
        (outputs(enabled=False), False),
        ({"enabled": True}, True),
        ({"enabled": True, "type": "api", "config": {}}, True),
    ],
)
async def test_an_app_says_whether_it_may_take_back(
    dify: FakeDify, make_client: ClientMaker, avoidance: Any, *, may: bool
) -> None:
    """Its input alone being checked takes nothing back; once known it is not asked for again."""
    dify.answer(says(avoidance))
    known = Moderation(make_client(), SystemClock())
    assert known.may_take_back()
    await learn(known, lambda: known._known is not None)
    await learn(known, lambda: True)

    assert known.may_take_back() is may
    assert [seen.path for seen in dify.seen] == ["/v1/parameters"]


async def test_many_answers_at_once_ask_once(dify: FakeDify, make_client: ClientMaker) -> None:
    """The others see what the first one learns."""
    dify.answer(says(OFF))
    known = Moderation(make_client(), SystemClock())
    await asyncio.gather(*(learn(known, lambda: not known.may_take_back()) for _ in range(20)))

    assert len(dify.seen) == 1


async def test_an_answer_that_is_over_does_not_wait_for_a_look(
    dify: FakeDify, make_client: ClientMaker
) -> None:
    """The look ends with it, and the next answer looks again."""
    dify.answer(hangs, says(OFF))
    known = Moderation(make_client(), SystemClock())
    began = time.monotonic()
    await learn(known, lambda: dify.seen)
    assert time.monotonic() - began < 4
    await asyncio.wait_for(dify.is_left.wait(), 5)
    assert known.may_take_back()

    await learn(known, lambda: not known.may_take_back())
    assert len(dify.seen) == 2


async def test_a_look_that_fails_is_repeated_while_the_answer_comes(
    dify: FakeDify, make_client: ClientMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then the app may take back."""
    monkeypatch.setattr(moderation, "PAUSE", 0.05)
    dify.answer(says(OFF, "502 X"), says(OFF, "500 X"), says(OFF))
    known = Moderation(make_client(), SystemClock())
    may: list[bool] = []

    def is_known() -> bool:
        may.append(known.may_take_back())
        return not may[-1]

    await learn(known, is_known)

    assert may[0]
    assert len(dify.seen) == 3


async def test_an_app_that_refuses_to_say_takes_nothing_back(
    dify: FakeDify, make_client: ClientMaker
) -> None:
    """A proxy that lets only questions through must not hold up every answer; it is asked again."""
    dify.answer(says(None, "404 NOT FOUND"), says(ON))
    clock = HandClock()
    known = Moderation(make_client(), clock)
    await learn(known, lambda: not known.may_take_back())
    clock.ahead += moderation.PAUSE
    await learn(known, known.may_take_back)

    assert len(dify.seen) == 2


@pytest.mark.parametrize("failure", [says(None, "502 X"), says(None, "403 FORBIDDEN"), b"nonsense"])
async def test_what_was_known_is_asked_for_again_and_stays_while_it_is_not_told(
    dify: FakeDify, make_client: ClientMaker, failure: Script | bytes
) -> None:
    """The operator may have switched it in Dify's console; a failing look changes nothing."""
    dify.answer(says(ON), failure, says(OFF))
    clock = HandClock()
    known = Moderation(make_client(), clock)
    await learn(known, lambda: known._known is not None)
    clock.ahead += MAX_AGE
    await learn(known, lambda: len(dify.seen) == 2 and not known._is_due())
    assert known.may_take_back()
    clock.ahead += moderation.PAUSE
    await learn(known, lambda: not known.may_take_back())

    assert len(dify.seen) == 3


async def test_who_wants_pieces_whatever_happens_asks_nothing_and_holds_nothing(
    dify: FakeDify, make_client: ClientMaker
) -> None:
    """The setting decides, not the app."""
    dify.answer(says(ON))
    known = Moderation(make_client(), SystemClock(), is_ignored=True)
    async with known.learning():
        await asyncio.sleep(0.05)

    assert not known.may_take_back()
    assert dify.seen == []
