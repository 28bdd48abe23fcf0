"""Two accounts of ours in one group, and two gateway logins: the whole bridge between the simulators."""

import json
from collections import Counter

import pytest

from simulators.ecloud import EcloudSimulator
from simulators.ecloud_world import Account
from tests.fixtures.bridge import Bridge
from tests.fixtures.logins import (
    SECOND_BOT,
    SECOND_GROUP,
    SECOND_PERSON,
    login_variables,
)
from tests.fixtures.twins import FIRST, ROOM, SECOND

MANY = 20


@pytest.mark.parametrize("fault", ["", "ids_per_account", "duplicate", "reorder"])
async def test_many_messages_in_a_group_with_two_accounts_are_answered_once_each(
    idle_bridge: Bridge,
    gateway: EcloudSimulator,
    two_accounts: tuple[Account, Account],
    fault: str,
) -> None:
    """Whatever the ids are, and though each account hears what the other one says."""
    if fault:
        gateway.faults.set(fault, value=0.3 if fault == "reorder" else 1)
    await idle_bridge.start()
    for number in range(MANY):
        gateway.say(ROOM, ("小明", "小红")[number % 2], f"第{number}问 [[text=答{number}]]")
    await gateway.wait_for_sent(MANY)
    await gateway.courier.idle()
    rows = await idle_bridge.rows("SELECT state, verdict FROM messages")

    answers = Counter(one.content.split("\u2005")[-1] for one in gateway.sent)
    verdicts = Counter(row["verdict"] for row in rows)
    assert answers == Counter(f"答{number}" for number in range(MANY))
    assert verdicts["other_account"] == MANY
    # What one of them said came to the other, and nobody answered it.
    assert verdicts["own_message"] == MANY
    assert not idle_bridge.log.count("ERROR")


async def test_one_account_answers_while_the_other_is_offline(
    bridge: Bridge, gateway: EcloudSimulator, two_accounts: tuple[Account, Account]
) -> None:
    """Also what was said to that one; and it is itself again when it is back."""
    gateway.set_online(FIRST, online=False)
    gateway.say(ROOM, "小明", "一 [[text=甲]]")
    gateway.say(ROOM, "小红", "@小助手\u2005二 [[text=乙]]", mentions=[FIRST])
    sent = await gateway.wait_for_sent(2)
    gateway.set_online(FIRST, online=True)
    gateway.say(ROOM, "小明", "@小助手\u2005三 [[text=丙]]", mentions=[FIRST])
    last = (await gateway.wait_for_sent(3))[-1]

    assert {one.bot for one in sent[:2]} == {SECOND}
    assert (last.bot, last.content.split("\u2005")[-1]) == (FIRST, "丙")


async def test_two_logins_register_answer_and_are_shown_each_by_its_own(
    idle_bridge: Bridge,
    gateway: EcloudSimulator,
    second_gateway: EcloudSimulator,
) -> None:
    """One callback address at both gateways; no call goes to the wrong one."""
    gateway.callback_url = None
    await idle_bridge.start(ECLOUD_CALLBACK_URL=idle_bridge.url, **login_variables(second_gateway))
    await gateway.recorder.until(lambda: gateway.callback_url == idle_bridge.callback_url)
    await second_gateway.recorder.until(
        lambda: second_gateway.callback_url == idle_bridge.callback_url
    )
    gateway.say(ROOM, "小明", "一 [[text=甲]]")
    second_gateway.say(SECOND_GROUP, SECOND_PERSON, "二 [[text=乙]]")
    [first] = await gateway.wait_for_sent(1)
    [second] = await second_gateway.wait_for_sent(1)
    known = await idle_bridge.until_rows("SELECT wc_id, gateway FROM accounts ORDER BY gateway")

    assert (first.bot, second.bot) == (FIRST, SECOND_BOT)
    assert [(row["wc_id"], row["gateway"]) for row in known] == [
        (FIRST, "default"),
        (SECOND_BOT, "second"),
    ]
    for one in (gateway, second_gateway):
        outcomes = [record.outcome or "" for record in one.recorder.of("request")]
        assert not [outcome for outcome in outcomes if outcome.startswith("1001")]
    health = (await idle_bridge.get("/api/v1/health"))[1]["dependencies"]["ecloud"]
    assert health["state"] != "down", json.dumps(health)
