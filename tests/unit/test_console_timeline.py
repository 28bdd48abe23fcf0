"""The way of a message as stations with times between them."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from app.console.timeline import make_timeline
from app.console.verdicts import Tone

START = datetime(2026, 11, 26, 10, 0, tzinfo=UTC)
TIMES = ("queued_at", "claimed_at", "asked_at", "first_text_at", "answered_at", "done_at")


def message(state: str, *milliseconds: float | None) -> Any:
    """A row that reached its stations so long after its receipt."""
    reached = [None if one is None else START + timedelta(milliseconds=one) for one in milliseconds]
    reached += [None] * (len(TIMES) - len(reached))
    return SimpleNamespace(state=state, received_at=START, **dict(zip(TIMES, reached, strict=True)))


def segment(seq: int, state: str, at: float | None, kind: str = "text") -> Any:
    """A row of one segment."""
    moment = None if at is None else START + timedelta(milliseconds=at)
    return SimpleNamespace(seq=seq, state=state, kind=kind, sending_at=moment, sent_at=moment)


def test_stations_stand_in_the_order_of_time_with_the_gap_before_each() -> None:
    """Parts that are sent while the answer is written stand before its end."""
    way = make_timeline(
        message("done", 5, 10, 20, 120, 500, 900),
        [segment(0, "sent", 300), segment(1, "sent", 800)],
    )

    assert [(one.label, one.seq, one.total) for one in way] == [
        ("收到回调", None, 0),
        ("进入队列", None, 5),
        ("开始处理", None, 10),
        ("提问 Dify", None, 20),
        ("首字到达", None, 120),
        ("发送第 {seq} 段", 1, 300),
        ("回答完成", None, 500),
        ("发送第 {seq} 段", 2, 800),
        ("全部完成", None, 900),
    ]
    assert [one.gap for one in way] == [0, 5, 5, 10, 100, 180, 200, 300, 100]


def test_what_is_not_reached_yet_stands_behind_what_is() -> None:
    """A message that waits shows what is still to come; one that is over does not."""
    waits = make_timeline(message("received", 5), [])
    failed = make_timeline(message("dead", 5, 10, 20, None, None, 90), [])

    assert [one.at is not None for one in waits] == [True, True, False, False, False, False, False]
    assert [one.label for one in failed][-1] == "放弃"
    assert (failed[-1].tone, len(failed)) == (Tone.BAD, 5)


def test_a_part_bears_its_state_and_the_sentence_after_a_failure_its_name() -> None:
    """What failed is red, what is undecided is a warning."""
    way = make_timeline(
        message("done", 5, 10, 20, 120, 500, 900),
        [
            segment(0, "failed", 600),
            segment(1, "unknown", 700),
            segment(2, "sent", 800, kind="notice"),
        ],
    )

    assert [(one.label, one.tone, one.state) for one in way if one.state] == [
        ("发送第 {seq} 段", Tone.BAD, "发送失败"),
        ("发送第 {seq} 段", Tone.WARN, "不确定是否发出"),
        ("失败后的那句话", Tone.GOOD, "已发送"),
    ]
