"""The order of sending for one account."""

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.flow import MessageId, SegmentKind, WcId
from app.models.segment import SegmentState
from app.services.outbox_table import Planned
from app.workers.lanes import Lanes


def segment(number: int, *, message: int, group: str, seq: int = 0) -> Planned:
    """A planned segment."""
    return Planned(
        id=number,
        message_id=MessageId(message),
        seq=seq,
        bot_wc_id=WcId("bot"),
        group_id=WcId(group),
        kind=SegmentKind.TEXT,
        content=str(number),
        mention=WcId(""),
        state=SegmentState.PLANNED,
        tries=0,
        planned_at=datetime(2026, 1, 1, tzinfo=UTC),
        sending_at=None,
    )


def drain(lanes: Lanes, now: float = 0.0) -> list[int]:
    """Take everything that may go out now; ids in the order of going."""
    order = []
    while (lane := lanes.next(now)) is not None:
        order.append(lanes.take(lane).id)
    return order


def test_groups_take_turns_answer_by_answer() -> None:
    """One group with many answers does not hold up the others."""
    lanes = Lanes()
    lanes.add([segment(n, message=n, group="a") for n in (1, 2, 3)])
    lanes.add([segment(4, message=4, group="b"), segment(5, message=5, group="c")])

    assert drain(lanes) == [1, 4, 5, 2, 3]


def test_planned_segments_of_one_answer_go_out_together() -> None:
    """Another group's answer does not get between them."""
    lanes = Lanes()
    lanes.add([segment(n, message=7, group="a", seq=n) for n in (1, 2, 3)])
    lanes.add([segment(4, message=8, group="b")])

    assert drain(lanes) == [1, 2, 3, 4]


def test_a_group_that_must_wait_holds_up_only_itself() -> None:
    """Its own order is kept, too."""
    lanes = Lanes()
    lanes.add([segment(1, message=1, group="a"), segment(2, message=2, group="a")])
    lanes.add([segment(3, message=3, group="b")])
    first = lanes.next(0.0)
    assert first is not None
    first.not_before = 5.0

    assert (lanes.waiting(0.0), lanes.waiting(5.0)) == (2, 0)
    assert drain(lanes, 0.0) == [3]
    assert lanes.due_in(1.0) == 4.0
    assert drain(lanes, 5.0) == [1, 2]
    assert lanes.due_in(5.0) is None


def test_a_held_account_sends_nothing_until_then() -> None:
    """A later, shorter pause does not end an earlier, longer one."""
    lanes = Lanes()
    lanes.add([segment(1, message=1, group="a")])
    lanes.hold(until=10.0)
    lanes.hold(until=5.0)

    assert lanes.next(9.9) is None
    assert lanes.due_in(9.0) == 1.0
    assert drain(lanes, 10.0) == [1]


@pytest.mark.parametrize(("now", "order"), [(10.0, [4, 5, 2, 3]), (11.0, [4, 2, 3, 5])])
def test_a_deferred_group_lets_others_go_first_and_keeps_its_own_order(
    now: float, order: list[int]
) -> None:
    """Also in the middle of an answer, and also those that are owed something only later."""
    lanes = Lanes()
    lanes.add([segment(n, message=7, group="a", seq=n) for n in (1, 2, 3)])
    lanes.add([segment(4, message=8, group="b")])
    first = lanes.next(0.0)
    assert first is not None
    lanes.take(first)
    lanes.hold(until=10.0)
    lanes.defer(first, until=11.0)
    lanes.add([segment(5, message=9, group="c")])

    assert drain(lanes, now) + drain(lanes, 11.0) == order


def test_of_two_deferred_groups_the_one_that_waited_longer_goes_first_but_behind_all_others() -> (
    None
):
    """Whatever their pauses were."""
    lanes = Lanes()
    lanes.add([segment(n, message=n, group=group) for n, group in enumerate("abc", start=1)])
    for until in (1.0, 2.0):
        lane = lanes.next(0.0)
        assert lane is not None
        lanes.defer(lane, until=until)

    assert drain(lanes, 3.0) == [3, 1, 2]


def test_an_account_that_is_released_sends_at_once() -> None:
    """It came back before its pause was over."""
    lanes = Lanes()
    lanes.add([segment(1, message=1, group="a")])
    lanes.hold(until=10.0)
    lanes.release()

    assert drain(lanes, 1.0) == [1]


def test_a_segment_is_known_once_until_it_is_taken() -> None:
    """Loading the same rows again changes nothing."""
    lanes = Lanes()
    rows = [segment(1, message=1, group="a"), segment(2, message=1, group="a", seq=1)]
    lanes.add(rows)
    lanes.add(rows)

    assert len(lanes) == 2
    assert drain(lanes) == [1, 2]
    assert len(lanes) == 0


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), max_size=25),
    st.lists(st.integers(0, 3), max_size=5),
)
def test_every_group_gets_its_segments_once_and_in_the_order_of_planning(
    answers: list[tuple[int, int]], paused: list[int]
) -> None:
    """Whatever is planned, in whatever portions, and whoever must wait."""
    lanes = Lanes()
    expected: dict[str, list[int]] = defaultdict(list)
    number = 0
    for message, (group, count) in enumerate(answers):
        rows = []
        for seq in range(count):
            number += 1
            rows.append(segment(number, message=message, group=str(group), seq=seq))
            expected[str(group)].append(number)
        lanes.add(rows)
    for lane in list(lanes._lanes):
        if int(lane.group) in paused:
            lane.not_before = 1.0
    group_of = {n: group for group, numbers in expected.items() for n in numbers}

    order = drain(lanes, 0.0) + drain(lanes, 1.0)

    got: dict[str, list[int]] = defaultdict(list)
    for sent in order:
        got[group_of[sent]].append(sent)
    assert got == expected
    assert len(lanes) == 0


def test_what_comes_late_from_another_account_goes_before_what_was_planned_after_it() -> None:
    """But not into an answer that is begun."""
    lanes = Lanes()
    lanes.add([segment(3, message=2, group="a"), segment(4, message=2, group="a", seq=1)])
    lanes.add([segment(8, message=4, group="a")])
    [lane] = lanes.candidates(0.0)
    assert lanes.take(lane).id == 3

    lanes.add([segment(1, message=1, group="a"), segment(2, message=1, group="a", seq=1)])
    lanes.add([segment(6, message=3, group="a"), segment(5, message=5, group="b")])

    assert [one for one in drain(lanes) if one != 5] == [4, 1, 2, 6, 8]


def test_nothing_comes_before_a_segment_that_may_be_under_way() -> None:
    """Whose call is waited for stays the head."""
    lanes = Lanes()
    lanes.add(
        [replace(segment(3, message=2, group="a"), tries=1), segment(4, message=3, group="a")]
    )
    lanes.add([segment(1, message=1, group="a")])

    assert drain(lanes) == [3, 1, 4]
