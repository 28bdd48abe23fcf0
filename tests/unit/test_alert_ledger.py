"""What is told of a cause: once, once more when it changes, and its end; whatever comes in which order."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.alerts.conditions import Condition, Topic
from app.services.alerts.growth import REST_SECONDS, Tally, counted
from app.services.alerts.ledger import (
    GIVE_UP_SECONDS,
    MAX_WAITING,
    Event,
    Ledger,
    Notice,
    Timing,
    cleared,
    delivered,
    due_for,
    failed,
    from_json,
    looked,
    queued,
    to_json,
    trial_notice,
)

HOLD = 30.0
TIMING = Timing(hold=HOLD)
ALL = frozenset(Topic)


def wrong(key: str = "account:a", code: str = "account_offline") -> Condition:
    """Something."""
    return Condition(
        topic=Topic.ACCOUNTS, key=key, code=code, title="离线", text="号离线", advice="登录"
    )


class Telling:
    """A ledger and all that it told, look by look."""

    def __init__(self, timing: Timing = TIMING) -> None:
        self.ledger = Ledger()
        self.timing = timing
        self.told: list[Notice] = []

    def look(
        self, now: float, *conditions: Condition, known: frozenset[Topic] = ALL
    ) -> list[tuple[Event, str]]:
        """One look; what it told."""
        self.ledger, notices = looked(
            self.ledger, conditions, known=known, now=now, timing=self.timing
        )
        self.told += notices
        return [(one.event, one.condition.code) for one in notices]


def test_a_cause_is_told_once_when_it_has_held_and_its_end_when_it_has_been_gone() -> None:
    """With the time of its beginning and of its end."""
    telling = Telling()
    assert telling.look(0, wrong()) == []
    assert telling.look(29, wrong()) == []
    assert telling.look(30, wrong()) == [(Event.FIRING, "account_offline")]
    assert telling.look(1000, wrong()) == []
    assert telling.look(1001) == []
    assert telling.look(1031) == [(Event.RECOVERED, "account_offline")]
    assert telling.look(2000) == []

    firing, ending = telling.told
    assert (firing.since, firing.at) == (0, 30)
    assert (ending.since, ending.at) == (0, 1001)
    assert telling.ledger == Ledger()


def test_what_was_there_for_a_moment_is_not_told() -> None:
    """Neither its beginning nor its end."""
    telling = Telling()
    told = [telling.look(0, wrong()), telling.look(10), telling.look(60), telling.look(100)]

    assert told == [[], [], [], []]


def test_a_cause_that_comes_and_goes_is_told_once_until_it_stays_away() -> None:
    """A minute of flapping, each part shorter than what counts."""
    telling = Telling()
    for now in range(0, 600, 10):
        telling.look(now, *([wrong()] if now % 20 == 0 else []))
    for now in range(600, 700, 10):
        telling.look(now)

    assert [one.event for one in telling.told] == [Event.FIRING, Event.RECOVERED]


def test_a_cause_that_gets_another_word_is_told_again_and_ends_once() -> None:
    """Throttled, then offline; and back again is no news."""
    telling = Telling()
    telling.look(0, wrong(code="throttled"))
    assert telling.look(30, wrong(code="throttled")) == [(Event.FIRING, "throttled")]
    assert telling.look(40, wrong(code="offline")) == []
    assert telling.look(70, wrong(code="offline")) == [(Event.FIRING, "offline")]
    assert telling.look(200, wrong(code="throttled")) == []
    assert telling.look(300, wrong(code="throttled")) == []
    telling.look(400)
    assert telling.look(500) == [(Event.RECOVERED, "throttled")]


def test_what_could_not_be_read_is_neither_wrong_nor_well() -> None:
    """The database is away for an hour: nothing that only it knows is called well."""
    telling = Telling()
    telling.look(0, wrong())
    telling.look(30, wrong())
    without = ALL - {Topic.ACCOUNTS}
    for now in range(40, 3600, 100):
        assert telling.look(now, known=without) == []
    assert telling.look(3600) == []
    assert telling.look(3630) == [(Event.RECOVERED, "account_offline")]


def test_a_cause_that_lasts_is_reminded_of_where_that_is_wanted() -> None:
    """Every hour here."""
    telling = Telling(Timing(hold=HOLD, reminder=3600))
    for now in range(0, 7300, 10):
        telling.look(now, wrong())

    assert [(one.event, one.at) for one in telling.told] == [
        (Event.FIRING, 30),
        (Event.REMINDER, 3630),
        (Event.REMINDER, 7230),
    ]


STEPS = st.lists(
    st.tuples(
        st.integers(1, 60),
        st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy"), max_size=2),
        st.booleans(),
    ),
    max_size=40,
)


@given(STEPS)
def test_no_cause_is_told_twice_and_every_one_has_one_end(
    steps: list[tuple[int, dict[str, str], bool]],
) -> None:
    """Whatever happens, and however often the ledger goes from one process to another."""
    telling, now = Telling(), 0
    for pause, active, is_known in steps:
        now += pause
        conditions = [wrong(key, code) for key, code in active.items()] if is_known else []
        telling.look(now, *conditions, known=ALL if is_known else frozenset())
        telling.ledger = from_json(to_json(telling.ledger)) or Ledger()
    for _ in range(2):
        now += round(HOLD)
        telling.look(now)

    for key in "ab":
        told = [one for one in telling.told if one.condition.key == key]
        episode: set[str] = set()
        for one in told:
            if one.event is Event.RECOVERED:
                assert episode
                episode = set()
            else:
                assert one.condition.code not in episode
                episode.add(one.condition.code)
        assert not episode, "its end was never told"
    assert telling.ledger.entries == {}


def test_a_page_that_is_none_of_ours_is_not_taken_for_one() -> None:
    """Nor does it raise."""
    for page in (b"", b"x", b"[]", b'{"entries": 1}', b'{"entries": {"a": {"told": 5}}}'):
        assert from_json(page) is None


# Deliveries -------------------------------------------------------------------------------------


@pytest.fixture
def ledger() -> Ledger:
    """One notice for two channels."""
    return queued(Ledger(), [trial_notice(0)], ("mail", "wecom"))


def test_each_channel_is_given_a_notice_until_it_has_it(ledger: Ledger) -> None:
    """What one has, the other still waits for."""
    [notice] = due_for(ledger, "mail", 0)
    ledger = delivered(ledger, "mail", [notice])

    assert due_for(ledger, "mail", 0) == []
    assert due_for(ledger, "wecom", 0) == [notice]
    assert delivered(ledger, "wecom", [notice]) == Ledger()


def test_a_channel_that_failed_is_left_alone_for_a_while_and_no_other(ledger: Ledger) -> None:
    """A success clears it."""
    ledger = failed(ledger, "wecom", due=60)
    assert due_for(ledger, "wecom", 59) == []
    assert len(due_for(ledger, "mail", 59)) == 1
    notices = due_for(ledger, "wecom", 60)
    assert len(notices) == 1

    assert delivered(ledger, "wecom", notices).troubles == {}


def test_channels_that_are_no_more_and_notices_that_are_history_are_dropped(ledger: Ledger) -> None:
    """The latter are counted."""
    without, late = cleared(failed(ledger, "mail", due=60), ("wecom",), 1)
    assert (without.waiting[0].channels, without.troubles, late) == (("wecom",), {}, 0)

    assert cleared(ledger, ("mail", "wecom"), GIVE_UP_SECONDS) == (Ledger(), 2)


def test_waiting_notices_are_bounded_and_the_newest_stay() -> None:
    """No channel takes anything for long."""
    ledger = Ledger()
    for now in range(MAX_WAITING + 50):
        ledger = queued(ledger, [trial_notice(now)], ("wecom",))

    assert len(ledger.waiting) == MAX_WAITING
    assert ledger.waiting[-1].notice.at == MAX_WAITING + 49


def test_the_page_keeps_everything() -> None:
    """Entries, tallies, waiting notices and troubles."""
    telling = Telling()
    telling.look(0, wrong())
    telling.look(30, wrong())
    whole = replace(
        failed(queued(telling.ledger, telling.told, ("mail",)), "mail", due=5),
        tallies=counted({}, {"dify_rejected": 2}, 7, last={}),
    )

    assert from_json(to_json(whole)) == whole


# Growth -----------------------------------------------------------------------------------------


def test_a_number_grows_until_it_rested_for_an_hour() -> None:
    """Then it may grow anew; the same number, or a smaller one, is no growth."""
    first = after(None, 3, 0)
    assert first.is_growing(REST_SECONDS - 1)
    assert not first.is_growing(REST_SECONDS)
    more = after(first, 4, 100)
    assert (more.since, more.grew_at, more.is_growing(REST_SECONDS + 99)) == (0, 100, True)
    less = after(more, 1, 200)
    assert (less.count, less.grew_at) == (1, 100)
    anew = after(less, 2, 2 * REST_SECONDS)

    assert (anew.since, anew.grew_at) == (2 * REST_SECONDS, 2 * REST_SECONDS)


def after(known: Tally | None, count: int, now: float) -> Tally:
    """The tally of one number after a look."""
    return counted({"a": known} if known else {}, {"a": count}, now, last={"a": 0})["a"]


def test_a_number_that_is_gone_is_forgotten() -> None:
    """All were replayed: the next one is the first again."""
    known = {"a": after(None, 3, 0)}
    assert counted(known, {"a": 0}, 10, last={}) == {}
    assert counted(known, {}, 10, last={}) == {}


def test_what_was_there_before_anybody_looked_is_growth_only_if_it_is_new() -> None:
    """A restart on the embedded default tells nothing of last week's letters."""
    now, counts = 10 * REST_SECONDS, {"old": 5, "new": 1}
    tallies = counted(None, counts, now, last={"old": 0.0, "new": now - 60})

    assert {name: one.is_growing(now) for name, one in tallies.items()} == {
        "old": False,
        "new": True,
    }
    assert after(tallies["old"], 6, now).is_growing(now)
