"""Of what a person says once, one copy is answered, whatever the gateway does with ids and order."""

from itertools import combinations, count

from hypothesis import given
from hypothesis import strategies as st

from app.models.flow import MessageId
from app.services.twins import Claimed, Copies, Copy, SharedIds, TwinKeys, Yielded, twin_keys

A, B, C = "wxid_a", "wxid_b", "wxid_c"
SAID = {
    "group_id": "1@chatroom",
    "new_msg_id": "77",
    "from_user": "wxid_user",
    "gateway_time": 1_760_000_000,
    "text": "在吗",
    "question": "在吗",
}


def keys(by_id: str | None = "id", by_text: str | None = "text") -> TwinKeys:
    return TwinKeys(by_id, by_text)


def test_the_first_copy_claims_and_the_others_yield_to_it() -> None:
    """By the id, though time or text be told differently."""
    copies = Copies((), SharedIds())

    first = copies.settle(MessageId(1), A, keys())
    others = [
        copies.settle(MessageId(n), bot, keys(by_text=f"t{n}")) for n, bot in ((2, B), (3, C))
    ]

    assert first == Claimed(keys(), 0)
    assert others == [Yielded(MessageId(1), A), Yielded(MessageId(1), A)]


def test_copies_with_ids_of_their_own_are_known_by_what_was_said() -> None:
    """And what is said twice in one second is answered twice, by whichever account."""
    copies = Copies((), SharedIds())

    outcomes = [
        copies.settle(MessageId(number), bot, keys(by_id=f"{bot}{number}"))
        for number, bot in enumerate([A, A, B, B, B, A], start=1)
    ]

    assert [isinstance(one, Claimed) for one in outcomes] == [True, True, False, False, True, False]
    assert outcomes[2:4] == [Yielded(MessageId(1), A), Yielded(MessageId(2), A)]
    assert outcomes[5] == Yielded(MessageId(5), B)


def test_what_says_nothing_of_itself_has_no_copies() -> None:
    """Answered twice rather than never."""
    copies = Copies((), SharedIds())

    outcomes = [
        copies.settle(MessageId(number), bot, TwinKeys(None, None))
        for number, bot in enumerate([A, B], start=1)
    ]

    assert all(isinstance(one, Claimed) for one in outcomes)


def test_keys_tell_groups_persons_times_and_texts_apart() -> None:
    """Spaces are exchanged by clients; an id of 0 and a time of 0 say nothing."""
    same = twin_keys({**SAID, "text": " 在吗\u2005"})
    others = [
        {**SAID, "group_id": "2@chatroom"},
        {**SAID, "from_user": "wxid_other"},
        {**SAID, "gateway_time": 1_760_000_001},
        {**SAID, "text": "在么"},
    ]

    assert same == twin_keys(SAID)
    assert len({twin_keys(one).by_text for one in [SAID, *others]}) == 5
    assert twin_keys({**SAID, "new_msg_id": "0"}).by_id is None
    assert twin_keys({**SAID, "gateway_time": 0}).by_text is None


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[int, bool, list[tuple[str, int]]]:
    """How often the same was said in one second, whether ids are shared, and who got which, in what order."""
    said = draw(st.integers(1, 4))
    every = [(bot, number) for bot in (A, B, C) for number in range(said)]
    order = draw(st.permutations(every))
    return said, draw(st.booleans()), list(order)


@given(deliveries())
def test_what_everybody_got_is_answered_exactly_once_each(
    case: tuple[int, bool, list[tuple[str, int]]],
) -> None:
    """In any order, with ids of each account's own, or shared as was seen; stores lie in between."""
    said, is_shared, order = case
    shared_ids = SharedIds()
    for pair in combinations((A, B, C), 2) if is_shared else ():
        shared_ids.note(*pair)
    numbers = count(1)
    known: list[Copy] = []
    answered = 0
    for bot, number in order:
        # As another process finds it.
        copies = Copies(known, shared_ids)
        mine = keys(by_id=f"{number}" if is_shared else f"{bot}{number}")
        message_id = MessageId(next(numbers))
        outcome = copies.settle(message_id, bot, mine)
        if isinstance(outcome, Claimed):
            answered += 1
            known.append(Copy(message_id, bot, outcome.keys, outcome.number))
        else:
            of = outcome.to if outcome.is_first else None
            known.append(Copy(message_id, bot, TwinKeys(None, "text"), None, of))

    claims = [(copy.keys.by_text, copy.number) for copy in known if copy.number is not None]
    assert answered == said
    assert len(set(claims)) == len(claims)


@given(st.sets(st.sampled_from([(bot, n) for bot in (A, B) for n in range(3)]), min_size=1))
def test_with_ids_of_their_own_as_many_are_answered_as_the_best_account_got(
    got: set[tuple[str, int]],
) -> None:
    """Callbacks may be lost: nobody knows which of the same texts the other account did not get."""
    copies = Copies((), SharedIds())
    outcomes = [
        copies.settle(MessageId(number), bot, keys(by_id=f"{bot}{n}"))
        for number, (bot, n) in enumerate(sorted(got), start=1)
    ]

    best = max(sum(1 for bot, _ in got if bot == one) for one in (A, B))
    assert sum(isinstance(one, Claimed) for one in outcomes) == best


def test_two_accounts_that_were_seen_to_share_ids_are_told_by_ids_alone() -> None:
    """The same text under another id is another message, whose own copy is still on its way."""
    shared_ids = SharedIds()
    earlier = Copies((), shared_ids)
    earlier.settle(MessageId(1), A, keys("0", "t0"))
    earlier.settle(MessageId(2), B, keys("0", "t0"))
    later = Copies((), shared_ids)

    outcomes = [
        later.settle(MessageId(number), bot, keys(by_id))
        for number, bot, by_id in [(3, A, "1"), (4, B, "2"), (5, A, "2"), (6, B, "1"), (7, C, "3")]
    ]

    assert [isinstance(one, Claimed) for one in outcomes] == [True, True, False, False, False]
    assert outcomes[2:4] == [Yielded(MessageId(4), B), Yielded(MessageId(3), A)]
