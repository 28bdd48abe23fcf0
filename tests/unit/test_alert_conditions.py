"""What the bridge knows becomes what the operator is told: with the right words, and only when it matters."""

from datetime import UTC, datetime

import pytest

from app.models.account import AccountState
from app.models.flow import WcId
from app.services.alerts.conditions import (
    MEBIBYTE,
    Topic,
    account_conditions,
    breaker_conditions,
    disk_conditions,
    finding_conditions,
    waiting_conditions,
)
from app.services.alerts.growth import counted
from app.services.dead_letters import CauseCount
from app.services.figures import Figures
from app.services.findings import Finding, Look, broken, risk
from app.services.queue.breakers import OpenBreaker, account_peer, dify_peer, limit_peer
from app.services.standing import Standing
from app.workers.alert_watch import letter_conditions

BOT = WcId("wxid_bot")
SINCE = datetime(2026, 1, 31, tzinfo=UTC)


def standing(state: AccountState) -> Standing:
    """Of our account."""
    return Standing(wc_id=BOT, state=state, since=SINCE)


def is_open(peer: str, code: str) -> OpenBreaker:
    """A breaker."""
    return OpenBreaker(peer=peer, opened_at=SINCE.timestamp(), code=code, pause_left=1)


@pytest.mark.parametrize(
    ("state", "code", "told", "title"),
    [
        (AccountState.OFFLINE, None, "account_offline", "微信号离线"),
        (AccountState.OFFLINE, "ecloud_unavailable", "account_offline", "微信号离线"),
        (AccountState.FAILING, "account_offline", "account_offline", "微信号离线"),
        (AccountState.FAILING, None, "account_failing", "微信号被限速"),
        (AccountState.FAILING, "ecloud_throttled", "ecloud_throttled", "微信号被限速"),
        (AccountState.FAILING, "ecloud_unauthorized", "ecloud_unauthorized", "Authorization"),
        (AccountState.FAILING, "ecloud_unavailable", "ecloud_unavailable", "连不上"),
        (AccountState.FAILING, "ecloud_undecided", "ecloud_undecided", "没有应答"),
        (AccountState.FAILING, "something_new", "something_new", "发送失败"),
    ],
)
def test_an_account_that_cannot_send_is_told_with_its_reason(
    state: AccountState, code: str | None, told: str, title: str
) -> None:
    """Under one key, whatever the reason is now; since it stopped being able to send."""
    breakers = [is_open(account_peer(BOT), code)] if code else []
    [found] = account_conditions([standing(state)], breakers)

    assert (found.key, found.code, found.since) == ("account:wxid_bot", told, SINCE.timestamp())
    assert title in found.title
    assert str(BOT) in found.text
    assert found.advice


@pytest.mark.parametrize("state", [AccountState.ONLINE, AccountState.UNKNOWN])
def test_an_account_that_can_send_or_was_not_tried_is_no_matter(state: AccountState) -> None:
    """Whatever is left of its breaker."""
    assert account_conditions([standing(state)], [is_open(account_peer(BOT), "x")]) == []


def test_breakers_of_apps_are_told_and_no_others() -> None:
    """An account is told of by its standing; an app that is only full is no fault."""
    peers = [dify_peer("default"), dify_peer("support"), account_peer(BOT), limit_peer("default")]
    found = breaker_conditions([is_open(peer, "dify_unavailable") for peer in peers])

    assert [one.key for one in found] == ["breaker:dify:default", "breaker:dify:support"]
    assert "support" in found[1].text


@pytest.mark.parametrize(
    ("age", "longest", "told"), [(299, 300, False), (301, 300, True), (9_999, 0, False)]
)
def test_the_oldest_message_is_told_when_it_waits_longer_than_it_may(
    age: float, longest: float, *, told: bool
) -> None:
    """0: it may wait as long as it likes."""
    figures = Figures(waiting=7, oldest_since=SINCE, dead=0, open_segments=0)
    found = waiting_conditions(figures, now=SINCE.timestamp() + age, longest=longest)

    assert bool(found) == told
    if told:
        assert (found[0].amount, found[0].since) == (7, SINCE.timestamp())


def test_what_waits_for_an_operator_says_so() -> None:
    """Nobody looks for the fault at Dify."""
    figures = Figures(waiting=7, oldest_since=SINCE, dead=0, open_segments=0)
    now = SINCE.timestamp() + 301
    [paused] = waiting_conditions(figures, now=now, longest=300, is_paused=True)
    [faulty] = waiting_conditions(figures, now=now, longest=300)

    assert "python -m app.cli resume" in paused.advice
    assert "resume" not in faulty.advice


def test_nothing_that_waits_is_no_wait() -> None:
    """An idle bridge."""
    figures = Figures(waiting=0, oldest_since=None, dead=0, open_segments=0)
    assert waiting_conditions(figures, now=1e12, longest=1) == []


@pytest.mark.parametrize(
    ("finding", "told"),
    [
        (broken("dify_refused", "密钥"), True),
        (risk("redis_nearly_full", "快满"), True),
        (risk("redis_not_saved", "没落盘"), True),
        (risk("ecloud_nobody_online", "没人"), True),
        (risk("ecloud_callback_none", "没登记"), True),
        (risk("redis_evicts", "会淘汰"), False),
        (risk("mysql_old", "旧"), False),
    ],
)
def test_findings_are_told_when_something_does_not_work_or_soon_will_not(
    finding: Finding, *, told: bool
) -> None:
    """How it was set up is said at the start, and no news afterwards."""
    look = Look(findings=(finding,))
    found = finding_conditions("redis", look, topic=Topic.SERVERS, title="Redis")

    assert [(one.key, one.text) for one in found] == (
        [(f"check:redis:{finding.code}", finding.text)] if told else []
    )


@pytest.mark.parametrize(
    ("free", "least", "told"), [(99, 100, True), (100, 100, False), (0, 0, False)]
)
def test_a_disk_is_told_when_less_is_free_than_must_be(
    free: int, least: int, *, told: bool
) -> None:
    """In MiB; 0: however full it is."""
    assert bool(disk_conditions("h", "/data", free=free * MEBIBYTE, least=least)) == told


def test_dead_letters_are_told_by_cause_while_they_become_more() -> None:
    """Those of last week are no news."""
    old = counted({}, {"dify_rejected": 2, "crashed": 1}, 0, last={})
    now = 7 * 86_400.0
    counts = [
        CauseCount(cause="dify_rejected", count=5, first=SINCE, last=SINCE),
        CauseCount(cause="crashed", count=1, first=SINCE, last=SINCE),
    ]
    tallies = counted(old, {one.cause: one.count for one in counts}, now, last={})
    [found] = letter_conditions(tallies, counts, now)

    assert (found.key, found.amount, found.since) == ("dead_letters:dify_rejected", 5, now)
    assert "failed list --cause dify_rejected" in found.advice
