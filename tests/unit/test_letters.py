"""How a dead letter goes on: decided by its state and its segments alone."""

from datetime import UTC, datetime
from typing import Any

import pytest

from app.models.flow import MessageId, SegmentKind, WcId
from app.models.message import MessageState
from app.models.segment import SegmentState
from app.services.letters import (
    Letter,
    Part,
    Refusal,
    ReplayOptions,
    Resumption,
    Way,
    decide_replay,
)

PLAIN = ReplayOptions()
ASK_AGAIN = ReplayOptions(ask_again=True)
RESEND = ReplayOptions(resend_unknown=True)
DEAD = "failed:dify_rejected"
NOT_SENT = "failed:not_sent"


def parts(words: str) -> tuple[Part, ...]:
    """Segments by their states; ``!`` in front: the sentence after the last failure."""
    return tuple(
        Part(
            seq=seq,
            kind=SegmentKind.NOTICE if word.startswith("!") else SegmentKind.TEXT,
            state=SegmentState(word.removeprefix("!")),
        )
        for seq, word in enumerate(words.split())
    )


def make_letter(state: str, verdict: str, words: str = "", **changes: Any) -> Letter:
    values: dict[str, Any] = {
        "id": MessageId(7),
        "user": WcId("u"),
        "group_id": WcId("g"),
        "state": MessageState(state),
        "verdict": verdict,
        "error": "",
        "received_at": datetime(2026, 1, 1, tzinfo=UTC),
        "attempts": 3,
        "crashes": 0,
        "replays": 0,
        "is_cut_short": False,
        "has_question": True,
        "fence": 9,
        "journal_id": 1,
        "parts": parts(words),
    }
    return Letter(**{**values, **changes})


@pytest.mark.parametrize(
    ("words", "void"),
    [
        ("", ()),
        ("!sent", ()),
        ("!planned", (0,)),
        ("!failed", (0,)),
        ("!unknown", (0,)),
        ("cancelled !sent", ()),
        ("planned failed", (0, 1)),
    ],
)
@pytest.mark.parametrize("options", [PLAIN, ASK_AGAIN, RESEND])
def test_without_an_answer_in_the_group_dify_is_asked_and_what_is_left_is_void(
    words: str, void: tuple[int, ...], options: ReplayOptions
) -> None:
    """The sentence after the failure is no answer; unsent it is not to come behind the answer."""
    letter = make_letter("dead", DEAD, words)

    assert decide_replay(letter, options) == Resumption(way=Way.ASK, void=void)


@pytest.mark.parametrize(
    ("words", "options", "again"),
    [
        ("sent", PLAIN, ()),
        ("sent failed planned", PLAIN, (1,)),
        ("unknown failed", PLAIN, (1,)),
        ("unknown failed", RESEND, (0, 1)),
        ("recalled", PLAIN, ()),
    ],
)
def test_parts_in_the_group_end_a_dead_answer(
    words: str, options: ReplayOptions, again: tuple[int, ...]
) -> None:
    """Another answer must not follow them."""
    letter = make_letter("dead", DEAD, words)

    assert decide_replay(letter, options) == Resumption(way=Way.CLOSE, again=again)
    assert decide_replay(letter, ASK_AGAIN) is Refusal.SEGMENTS_OUT


@pytest.mark.parametrize(
    ("verdict", "words", "options", "again"),
    [
        (NOT_SENT, "failed failed", PLAIN, (0, 1)),
        (NOT_SENT, "cancelled failed", PLAIN, (1,)),
        ("answered", "sent failed sent failed", PLAIN, (1, 3)),
        ("cut_short", "sent failed", PLAIN, (1,)),
        ("answered", "unknown failed", PLAIN, (1,)),
        ("answered", "unknown failed", RESEND, (0, 1)),
        ("answered", "sent unknown", RESEND, (1,)),
        ("answered", "!sent sent failed", PLAIN, (2,)),
    ],
)
def test_of_an_answer_only_what_is_not_in_the_group_is_sent(
    verdict: str, words: str, options: ReplayOptions, again: tuple[int, ...]
) -> None:
    """Never what is there; what may be there only when the operator says so."""
    letter = make_letter("done", verdict, words)

    assert decide_replay(letter, options) == Resumption(way=Way.SEND, again=again)


@pytest.mark.parametrize(
    ("state", "verdict", "words", "options", "why"),
    [
        ("received", "", "", PLAIN, Refusal.NOT_DEAD),
        ("processing", "", "", PLAIN, Refusal.NOT_DEAD),
        ("answered", "answered", "failed planned", PLAIN, Refusal.NOT_DEAD),
        ("ignored", "no_text", "", PLAIN, Refusal.NOT_DEAD),
        ("refused", "user_queue_full", "", PLAIN, Refusal.NOT_DEAD),
        ("done", "answered", "sent cancelled", PLAIN, Refusal.NOT_DEAD),
        ("done", "answered_nothing", "", ASK_AGAIN, Refusal.NOT_DEAD),
        ("done", "answered", "sent unknown", PLAIN, Refusal.ONLY_UNDECIDED),
        ("done", "answered", "sent failed", ASK_AGAIN, Refusal.SEGMENTS_OUT),
        ("done", "answered", "unknown failed", ASK_AGAIN, Refusal.SEGMENTS_OUT),
        ("done", NOT_SENT, "", PLAIN, Refusal.TEXT_GONE),
        ("dead", DEAD, "!sending", PLAIN, Refusal.SENDING),
        ("dead", DEAD, "sent sending", PLAIN, Refusal.SENDING),
    ],
)
def test_what_is_not_replayed_has_its_reason(
    state: str, verdict: str, words: str, options: ReplayOptions, why: Refusal
) -> None:
    """Nothing to do, nothing allowed, or not now."""
    assert decide_replay(make_letter(state, verdict, words), options) is why


@pytest.mark.parametrize(
    ("state", "verdict", "words", "options"),
    [
        ("dead", DEAD, "!sent", PLAIN),
        ("done", NOT_SENT, "failed", ASK_AGAIN),
    ],
)
def test_without_its_text_nothing_is_asked(
    state: str, verdict: str, words: str, options: ReplayOptions
) -> None:
    """Retention removed it; what is planned already needs none."""
    letter = make_letter(state, verdict, words, has_question=False)

    assert decide_replay(letter, options) is Refusal.TEXT_GONE
    unsent = make_letter("done", NOT_SENT, "failed", has_question=False)
    assert decide_replay(unsent, PLAIN) == Resumption(way=Way.SEND, again=(0,))


def test_an_answer_of_which_nothing_is_out_is_asked_for_anew_on_demand() -> None:
    """Its segments are void then."""
    letter = make_letter("done", NOT_SENT, "failed cancelled failed")

    assert decide_replay(letter, ASK_AGAIN) == Resumption(way=Way.ASK, void=(0, 2))


@pytest.mark.parametrize(
    ("state", "verdict", "words", "cause"),
    [
        ("dead", DEAD, "", "dify_rejected"),
        ("dead", DEAD, "sent failed", "dify_rejected"),
        ("done", NOT_SENT, "failed", "not_sent"),
        ("done", "answered", "sent failed unknown", "partly_sent"),
        ("done", "answered", "sent unknown", "undecided"),
        ("done", "answered", "sent !failed", ""),
    ],
)
def test_every_letter_has_its_cause(state: str, verdict: str, words: str, cause: str) -> None:
    """The reason of its verdict, or what is missing of its answer."""
    assert make_letter(state, verdict, words).cause == cause
