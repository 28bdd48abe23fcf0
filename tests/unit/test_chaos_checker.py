"""The checker of the chaos harness: every kind of violation is found, and a good run has none."""

import itertools
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.chaos.checker import Findings, check, split_by_crash
from bench.chaos.history import Asking, Delivery, History, Sending
from bench.chaos.words import Mark, find_marks, find_word, question, word_of
from simulators.dify_script import make_plan, parse_script

USER, GROUP, BOT = "wxid_a", "1@chatroom", "wxid_bot"


def delivery(word: str, at: float, *, user: str = USER, status: int | None = 200) -> Delivery:
    """A callback that took a tenth of a second."""
    return Delivery(
        word=word, user=user, group=f"{user}@chatroom", status=status, started=at, ended=at + 0.1
    )


def asking(
    word: str, at: float, *, user: str = USER, attempt: int = 1, outcome: str = "answered"
) -> Asking:
    """A call of Dify that took half a second."""
    return Asking(
        word=word, user=user, attempt=attempt, outcome=outcome, started=at, ended=at + 0.5
    )


def sending(
    word: str, at: float, part: int = 1, *, parts: int = 1, attempt: int = 1, user: str = USER
) -> Sending:
    """A segment with one part."""
    mark = Mark(word, part, parts, attempt)
    return Sending(account=BOT, group=f"{user}@chatroom", at=at, marks=(mark,))


def kinds(findings: Findings) -> dict[str, list[str]]:
    """Words by kind of violation."""
    named = findings.violations().items()
    return {name: [one.word for one in found] for name, found in named if found}


def good_run(seed: int, users: int, messages: int) -> History:
    """People talk at random; everything goes as promised, with faults that are forgiven."""
    rng, numbers = random.Random(seed), itertools.count()
    deliveries: list[Delivery] = []
    askings: list[Asking] = []
    sendings: list[Sending] = []
    for user in (f"u{number}" for number in range(users)):
        spoken = free = shown = 0.0
        for _ in range(messages):
            word = word_of(next(numbers))
            spoken += rng.uniform(0.1, 2)
            deliveries.append(delivery(word, spoken, user=user))
            deliveries += [
                delivery(word, spoken + rng.uniform(0, 5), user=user)
                for _ in range(rng.choice((0, 0, 0, 2)))
            ]
            tries = rng.choice((1, 1, 1, 3))
            for attempt in range(1, tries + 1):
                free = max(free, spoken) + rng.uniform(0, 1)
                outcome = "answered" if attempt == tries else "http_500"
                askings.append(asking(word, free, user=user, attempt=attempt, outcome=outcome))
                free += 0.5
            parts = rng.choice((1, 2, 3))
            for part in range(1, parts + 1):
                shown = max(shown, free) + rng.uniform(0, 1)
                sendings.append(sending(word, shown, part, parts=parts, attempt=tries, user=user))
    return History(
        deliveries=tuple(sorted(deliveries, key=lambda one: one.started)),
        askings=tuple(sorted(askings, key=lambda one: one.started)),
        sendings=tuple(sorted(sendings, key=lambda one: one.at)),
    )


@settings(deadline=None)  # the machine may have other things to do
@given(seed=st.integers(0, 10_000), users=st.integers(1, 5), messages=st.integers(1, 12))
def test_a_run_in_which_all_promises_are_kept_has_no_violation(
    seed: int, users: int, messages: int
) -> None:
    """However many deliveries, tries and parts there are."""
    history = good_run(seed, users, messages)
    findings = check(history)

    assert kinds(findings) == {}
    assert findings.accepted == findings.answered == users * messages
    assert findings.segments == len(history.sendings)


@settings(deadline=None)  # the machine may have other things to do
@given(seed=st.integers(0, 10_000), data=st.data())
def test_one_thing_that_goes_wrong_anywhere_is_found(seed: int, data: st.DataObject) -> None:
    """And only that word is named."""
    history = good_run(seed, users=3, messages=6)
    victim = data.draw(st.sampled_from(history.sendings)).marks[0]
    of_word = [one for one in history.sendings if one.marks[0].word == victim.word]
    others = tuple(one for one in history.sendings if one not in of_word)
    last = of_word[-1]
    late = max(one.at for one in history.sendings) + 1.0

    lost = replace(history, sendings=others)
    assert kinds(check(lost)) == {"lost": [victim.word]}
    twice = replace(history, sendings=(*history.sendings, replace(last, at=late)))
    assert kinds(check(twice)) == {"segments_twice": [victim.word]}
    unheard = tuple(
        replace(one, is_undecided=True) if one is last else one for one in history.sendings
    )
    resent = replace(history, sendings=(*unheard, replace(last, at=late)))
    assert kinds(check(resent)) == {"resent": [victim.word]}
    thrice = replace(resent, sendings=(*resent.sendings, replace(last, at=late + 1)))
    assert kinds(check(thrice))["segments_twice"] == [victim.word]
    again = replace(last.marks[0], attempt=9)
    other = replace(last, at=late, marks=(again,))
    both = replace(history, sendings=(*history.sendings, other))
    assert kinds(check(both))["answered_twice"] == [victim.word]
    if len(of_word) > 1:
        short = replace(history, sendings=(*others, *of_word[:-1]))
        assert kinds(check(short)) == {"cut_short": [victim.word]}


def test_a_word_without_200_is_refused_not_lost() -> None:
    """One answered all the same is no violation but of the refusal."""
    history = History(
        deliveries=(delivery("w000001", 0, status=503), delivery("w000002", 1, status=None)),
        sendings=(sending("w000002", 2),),
    )

    assert kinds(check(history)) == {"refused": ["w000001", "w000002"]}


def test_a_refused_delivery_that_was_repeated_is_accepted() -> None:
    """Its answer is owed from the first 200 on."""
    history = History(
        deliveries=(delivery("w000001", 0, status=None), delivery("w000001", 1)),
    )

    assert kinds(check(history)) == {"lost": ["w000001"]}


def test_calls_of_one_user_at_the_same_time_overlap_whatever_they_are_about() -> None:
    """Calls of two users do not."""
    history = History(
        askings=(
            asking("w000001", 0.0),
            asking("w000002", 0.4),
            asking("w000003", 0.4, user="wxid_b"),
        )
    )

    findings = check(history)

    assert kinds(findings) == {"overlapping": ["w000002"]}
    assert "beside w000001" in findings.overlapping[0].what


def test_a_long_call_overlaps_all_that_follow_it() -> None:
    """Not only its neighbour."""
    long = replace(asking("w000001", 0.0), ended=10.0)
    history = History(askings=(long, asking("w000002", 1.0), asking("w000003", 5.0)))

    assert kinds(check(history)) == {"overlapping": ["w000002", "w000003"]}


def test_a_later_message_that_is_asked_first_is_reordered() -> None:
    """Whoever was posted while the other was still under way has no order."""
    deliveries = (delivery("w000001", 0), delivery("w000002", 1))
    askings = (asking("w000002", 2), asking("w000001", 3))
    sendings = (sending("w000001", 4), sending("w000002", 5))
    told = History(deliveries=deliveries, askings=askings, sendings=sendings)
    side_by_side = replace(told, deliveries=(deliveries[0], delivery("w000002", 0.05)))

    assert kinds(check(told)) == {"reordered": ["w000002"]}
    assert kinds(check(side_by_side)) == {}


def test_a_later_answer_that_begins_before_the_former_one_ends_is_reordered() -> None:
    """Each of its own group."""
    deliveries = (delivery("w000001", 0), delivery("w000002", 1))
    sendings = (
        sending("w000001", 3, 1, parts=2),
        sending("w000002", 4),
        sending("w000001", 5, 2, parts=2),
    )
    history = History(deliveries=deliveries, sendings=sendings)
    elsewhere = tuple(replace(one, group="9@chatroom") for one in deliveries[1:])
    two_groups = replace(history, deliveries=(deliveries[0], *elsewhere))

    assert kinds(check(history)) == {"reordered": ["w000002"]}
    assert kinds(check(two_groups)) == {}


def test_a_repeat_of_an_earlier_segment_is_no_disorder() -> None:
    """Only the first arrival of a part counts for order."""
    history = History(
        deliveries=(delivery("w000001", 0), delivery("w000002", 1)),
        sendings=(sending("w000001", 2), sending("w000002", 3), sending("w000001", 4)),
    )

    assert kinds(check(history)) == {"segments_twice": ["w000001"]}


def test_parts_in_the_wrong_order_are_reordered() -> None:
    """Inside one answer."""
    history = History(
        deliveries=(delivery("w000001", 0),),
        sendings=(sending("w000001", 1, 2, parts=2), sending("w000001", 2, 1, parts=2)),
    )

    assert kinds(check(history)) == {"reordered": ["w000001"]}


@pytest.mark.parametrize(
    ("second_at", "outcome", "found"),
    [(2.0, "answered", True), (0.9, "answered", False), (2.0, "client_left", False)],
)
def test_asking_again_is_wrong_only_after_the_whole_answer_came_and_some_of_it_is_out(
    second_at: float, outcome: str, *, found: bool
) -> None:
    """Asked before that, or after an answer that broke off: a try like any other."""
    history = History(
        deliveries=(delivery("w000001", 0),),
        askings=(
            asking("w000001", 0.2, outcome=outcome),
            asking("w000001", second_at, attempt=2),
        ),
        sendings=(sending("w000001", 1.0),),
    )

    assert ("asked_again" in kinds(check(history))) is found


def test_the_time_to_drain_ends_with_the_last_first_arrival() -> None:
    """Counted from the last accepted callback; a repeat does not lengthen it."""
    history = History(
        deliveries=(delivery("w000001", 0), delivery("w000002", 1)),
        sendings=(sending("w000001", 2), sending("w000002", 4.1), sending("w000001", 9)),
    )

    assert check(history).drain == pytest.approx(3.0)
    assert check(History()).drain == 0.0


def test_a_message_without_marks_is_strange() -> None:
    """A sentence of failure, or something of somebody else."""
    stray = Sending(account=BOT, group=GROUP, at=1.0, marks=())

    assert check(History(sendings=(stray,))).strange == 1


@pytest.mark.parametrize("attempt", [1, 2])
def test_the_answer_to_a_question_bears_its_marks(attempt: int) -> None:
    """What the simulated Dify makes of a question is what the checker reads."""
    text = question("w000017", parts=3, length=60, orders="[[wait=0.5;times=1]]")
    script = parse_script(text).on_try(attempt)
    plan = make_plan(script, release="1.13.0", turn=1, pace=0.0)  # type: ignore[arg-type]
    paragraphs = plan.answer.split("\n\n")

    assert find_word(text) == "w000017"
    assert plan.wait == (0.5 if attempt == 1 else 0.0)
    assert [find_marks(one) for one in paragraphs] == [
        (Mark("w000017", part, 3, attempt),) for part in (1, 2, 3)
    ]
    assert all(50 <= len(one) <= 70 for one in paragraphs)


def test_a_crash_explains_only_the_last_segment_before_it() -> None:
    """One that another one followed had been written down; an undecided one needs no crash."""
    two = (sending("w000001", 1.0), sending("w000002", 2.0))
    again = (sending("w000001", 9.0), sending("w000002", 10.0))
    explained, others = split_by_crash(History(sendings=(*two, *again)), [2.5, 20.0])
    undecided = (replace(two[0], is_undecided=True), two[1], again[0])

    assert [one.word for one in explained] == ["w000002"]
    assert [one.word for one in others] == ["w000001"]
    assert split_by_crash(History(sendings=undecided), [2.5]) == ((), ())
