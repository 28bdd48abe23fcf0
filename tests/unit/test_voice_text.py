"""How a recording waits in the row of its message."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.flow import (
    GroupMessage,
    Ignored,
    IgnoreReason,
    MemberVoice,
    MessageId,
    Question,
    Trigger,
    WcId,
)
from app.services.decide import GroupRules, decide_heard, decide_voice
from app.services.errors import VoiceAway
from app.services.hearing import Hearing
from app.services.inbox_rows import make_row, row_from_record
from app.services.stages import utc_now
from app.services.voice_text import SPOKEN, spoken, voice_of, voice_text
from app.utils.clock import SystemClock
from app.workers.fallbacks import Fallbacks
from app.workers.peer_watch import Admission
from app.workers.takeover import Takeover
from tests.fixtures.callbacks import BOT, NOW, USER, make_origin, make_turn

VOICE = MemberVoice(
    msg_id="1685074606", buffer_id="289139440622895483", size=3227, sender=USER, milliseconds=1800
)


def unheard(voice: MemberVoice = VOICE) -> Question:
    """A recording as it is taken in."""
    message = GroupMessage(origin=make_origin(), text=voice_text(voice))
    return Question(message=message, text="", voice=voice)


@given(st.text(), st.text(), st.integers(), st.integers())
def test_a_recording_is_the_same_behind_its_row(
    msg_id: str, buffer_id: str, size: int, milliseconds: int
) -> None:
    """Whatever the gateway calls it."""
    voice = MemberVoice(
        msg_id=msg_id, buffer_id=buffer_id, size=size, sender=USER, milliseconds=milliseconds
    )

    assert voice_of(voice_text(voice), None) == voice


def test_it_is_the_same_behind_a_line_of_the_spill_file() -> None:
    """It waits there as a question whose words nobody knows."""
    row = make_row(
        unheard(), b"{}", message_id=MessageId(1), received_at=utc_now(), keep_ignored_text=False
    )
    again = row_from_record(row.to_record())

    assert (again.is_question, again.columns["question"]) == (True, None)
    assert voice_of(again.columns["text"], again.columns["question"]) == VOICE


@pytest.mark.parametrize("text", [None, "", SPOKEN, f"{SPOKEN} ", f"{SPOKEN} {{}}", "[语音] []"])
def test_what_is_no_recording_is_none(text: str | None) -> None:
    """Also what another release wrote, or retention emptied."""
    assert voice_of(text, None) is None


def test_whoever_types_such_a_text_asks_it() -> None:
    """It is a question, and has one."""
    text = voice_text(VOICE)

    assert voice_of(text, text) is None
    assert spoken(text, text) == text


def test_copies_of_a_recording_are_told_by_its_size_and_length() -> None:
    """Each account has ids of its own for it."""
    other = MemberVoice(
        msg_id="7", buffer_id="8", size=VOICE.size, sender=USER, milliseconds=VOICE.milliseconds
    )
    longer = MemberVoice(msg_id="7", buffer_id="8", size=9, sender=USER, milliseconds=1)

    assert spoken(voice_text(VOICE), None) == spoken(voice_text(other), None)
    assert spoken(voice_text(VOICE), None) != spoken(voice_text(longer), None)


def test_copies_of_a_recording_through_two_accounts_are_one_message() -> None:
    """Though the gateway gives each an id of its own."""
    rows = [
        make_row(
            unheard(replace(VOICE, msg_id=str(number), buffer_id=str(number))),
            b"{}",
            message_id=MessageId(number),
            received_at=utc_now(),
            keep_ignored_text=False,
        )
        for number in (1, 2)
    ]

    assert rows[0].twin_keys.by_text == rows[1].twin_keys.by_text


async def test_what_is_still_to_be_heard_is_neither_another_apps_nor_another_accounts() -> None:
    """Only the account that got it can fetch it, and the other app may be deaf; heard, it is a text."""
    turn = replace(make_turn(MessageId(1)), voice=VOICE)
    admission = Admission(user=turn.user, app=turn.app)
    two = {turn.bot_wc_id, "wxid_other"}
    nobody: Any = SimpleNamespace(offline_ids={turn.bot_wc_id}, own_ids=two)
    takeover = Takeover(
        handover=nobody, turns=nobody, accounts=nobody, watch=nobody, clock=SystemClock()
    )
    fallbacks = Fallbacks({turn.app: "other"}, turns=nobody, watch=nobody)

    assert await takeover.instead(turn, admission) == (turn, admission)
    assert [fallbacks.has(turn), fallbacks.has(replace(turn, voice=None))] == [False, True]


async def test_whoever_speaks_makes_room_while_all_that_may_be_fetched_is_under_way() -> None:
    """Waiting for it would hold a place that somebody's written question needs."""
    nobody: Any = None
    ear: Any = SimpleNamespace(traits=SimpleNamespace(parameters=SimpleNamespace(hears=True)))
    full: Any = SimpleNamespace(slots=asyncio.Semaphore(0))
    hearing = Hearing(
        carrier=full,
        dify=ear,
        gate=nobody,
        groups=nobody,
        store=nobody,
        clock=nobody,
        is_on=True,
        keeps_text=False,
    )

    with pytest.raises(VoiceAway, match="too_many"):
        async with asyncio.timeout(5):
            await hearing.heard(make_turn(MessageId(1)), VOICE)


@pytest.mark.parametrize(
    ("how", "rules", "reason"),
    [
        ({}, GroupRules(), None),
        ({}, GroupRules(trigger=Trigger.PREFIX), None),
        ({}, GroupRules(trigger=Trigger.MENTION), IgnoreReason.UNSUPPORTED_TYPE),
        ({}, GroupRules(is_enabled=False), IgnoreReason.GROUP_OFF),
        ({}, GroupRules(muted_until=NOW + 1), IgnoreReason.MUTED),
        ({}, GroupRules(muted_until=NOW - 1), None),
        ({"from_user": WcId("wxid_ours")}, GroupRules(), IgnoreReason.OWN_MESSAGE),
        ({"timestamp": NOW - 99}, GroupRules(max_message_age=60), IgnoreReason.TOO_OLD),
    ],
)
def test_what_is_spoken_waits_to_be_heard_where_it_may_be_a_question(
    how: dict[str, object], rules: GroupRules, reason: IgnoreReason | None
) -> None:
    """By the rules that need no words."""
    ignored = Ignored(origin=make_origin(**how), reason=IgnoreReason.UNSUPPORTED_TYPE)
    found = decide_voice(ignored, VOICE, rules, own_accounts={BOT, WcId("wxid_ours")}, now=NOW)

    assert (found.reason if isinstance(found, Ignored) else None) is reason
    assert isinstance(found, Question) is (reason is None)


@pytest.mark.parametrize(
    ("rules", "text", "asked"),
    [
        (GroupRules(), " 几点开门 ", "几点开门"),
        (GroupRules(), " \n", IgnoreReason.NO_TEXT),
        (GroupRules(trigger=Trigger.MENTION), "几点开门", IgnoreReason.NOT_MENTIONED),
        (GroupRules(trigger=Trigger.PREFIX, prefixes=("问",)), "问几点开门", "几点开门"),
        (GroupRules(trigger=Trigger.PREFIX, prefixes=("问",)), "几点", IgnoreReason.NO_PREFIX),
        (GroupRules(trigger=Trigger.KEYWORD, keywords=("开门",)), "几点开门", "几点开门"),
        (GroupRules(trigger=Trigger.KEYWORD, keywords=("开门",)), "几点", IgnoreReason.NO_KEYWORD),
        (GroupRules(trigger=Trigger.REGEX), "几点", IgnoreReason.NO_MATCH),
    ],
)
def test_what_was_heard_is_judged_by_the_groups_trigger(
    rules: GroupRules, text: str, asked: str | IgnoreReason
) -> None:
    """As if it had been written."""
    assert decide_heard(text, rules) == asked
