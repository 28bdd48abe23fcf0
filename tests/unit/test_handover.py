"""Which waiting answers another account of ours may send, and in which order they stay."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.models.flow import MessageId, WcId
from app.services.handover import Move, Owed, choose_moves

A, B = WcId("wxid_a"), WcId("wxid_b")
GROUP = WcId("1@chatroom")


def owed(number: int, user: str = "wxid_user", **changes: Any) -> Owed:
    values: dict[str, Any] = {"bot": A, "group": GROUP, "user": WcId(user), "is_free": True}
    return Owed(message_id=MessageId(number), **{**values, **changes})


def moved(owing: list[Owed], takers: dict[int, list[WcId]]) -> list[int]:
    """Messages that go to B."""
    known = {MessageId(number): bots for number, bots in takers.items()}
    moves = choose_moves(owing, known, {B})
    assert all((one.former, one.other) == (A, B) for one in moves)
    return [one.message_id for one in moves]


def test_what_both_accounts_got_goes_to_the_one_that_is_online() -> None:
    """All segments of an answer at once."""
    takers = {MessageId(1): [A, B]}

    assert choose_moves([owed(1), owed(1)], takers, {B}) == [
        Move(message_id=MessageId(1), former=A, other=B)
    ]
    assert choose_moves([owed(1)], takers, set()) == []


def test_what_may_be_on_its_way_stays_and_so_does_what_comes_behind_it() -> None:
    """Of the same person; others go on. A segment that is free does not save its answer."""
    owing = [owed(1), owed(1, is_free=False), owed(2), owed(3, "wxid_other")]

    assert moved(owing, {number: [A, B] for number in (1, 2, 3)}) == [3]


def test_what_only_the_offline_account_got_stays_with_all_behind_it() -> None:
    """The other one may not even be in the group."""
    owing = [owed(1), owed(2), owed(3), owed(4, group=WcId("2@chatroom"))]

    assert moved(owing, {1: [A, B], 2: [A], 3: [A, B], 4: [A, B]}) == [1, 4]


@given(
    st.lists(st.tuples(st.integers(1, 6), st.sampled_from("uv"), st.booleans()), max_size=12),
    st.sets(st.integers(1, 6)),
)
def test_nobody_is_overtaken_in_a_group(
    segments: list[tuple[int, str, bool]], shared: set[int]
) -> None:
    """What stays of a person lies behind everything of his that goes."""
    users: dict[int, str] = {}
    owing = [
        owed(number, users.setdefault(number, user), is_free=free)
        for number, user, free in sorted(segments, key=lambda one: one[0])
    ]

    going = set(moved(owing, {number: [A, B] if number in shared else [A] for number in range(7)}))

    assert going <= shared
    for user in "uv":
        mine = sorted({one.message_id for one in owing if one.user == user})
        assert all(one in going for one in mine[: len([one for one in mine if one in going])])
        assert not any(one.message_id in going and not one.is_free for one in owing)
