"""Two accounts of ours in one group: one answer to each message, by the right account, or by the other."""

import asyncio
import random

import pytest

from app.models.flow import WcId
from app.services.presence import Witness
from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from simulators.ecloud_world import Account
from tests.fixtures.inside import INSIDE_EMBEDDED, Inside, StartInside
from tests.fixtures.sending import hurry
from tests.fixtures.twins import FIRST, SECOND, Word, hear, heard, words

pytestmark = pytest.mark.usefixtures("two_accounts")


@pytest.fixture(autouse=True)
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses are seconds and minutes; their places in the flow are the same when short."""
    hurry(monkeypatch, OFFLINE_PAUSE=1.0)
    monkeypatch.setattr("app.workers.twin_keeper.LEFT_SECONDS", 0.5)
    monkeypatch.setattr("app.workers.twin_keeper.LOOK_SECONDS", 0.2)


async def verdicts(bridge: Inside) -> list[tuple[str, str, str]]:
    """Account, state and verdict of every row, in order of receipt."""
    rows = await bridge.rows("SELECT bot_wc_id, state, verdict FROM messages ORDER BY id")
    return [(row["bot_wc_id"], row["state"], row["verdict"]) for row in rows]


async def test_many_messages_that_both_hear_are_answered_once_each(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """In any order, together, with second deliveries; on both engines."""
    async with inside() as bridge:
        bodies = [
            body
            for number in range(12)
            for body in heard(
                bridge, f"{number} [[text=答{number}]]", person=("小明", "小红")[number % 2]
            )
        ]
        bodies += bodies[:6]
        random.Random(3).shuffle(bodies)
        await asyncio.gather(*map(bridge.take, bodies))
        await bridge.until_settled(12)
        rows = await verdicts(bridge)

    assert sorted(word.text for word in words(gateway)) == sorted(f"答{n}" for n in range(12))
    assert sorted(verdict for _, _, verdict in rows) == ["answered"] * 12 + ["other_account"] * 12


@INSIDE_EMBEDDED
async def test_the_account_that_is_mentioned_answers_whoever_heard_first(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """The other row says so at once, and later to which copy it was left."""
    async with inside() as bridge:
        await hear(bridge, "@二号助手\u2005一 [[text=好]]", mentioned=[SECOND])
        await bridge.until_rows("SELECT 1 FROM messages WHERE state = 'ignored'")
        await bridge.until_settled(1)
        rows = await verdicts(bridge)
        [copy] = await bridge.rows(
            "SELECT detail FROM messages WHERE twin_of = (SELECT id FROM messages WHERE state = 'done')"
        )

    assert words(gateway) == [Word(SECOND, "好")]
    assert rows == [(FIRST, "ignored", "other_account"), (SECOND, "done", "answered")]
    assert copy["detail"].startswith(SECOND)


@INSIDE_EMBEDDED
async def test_a_message_for_an_account_that_never_hears_it_is_answered_by_the_other(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """Its callback was lost; if it comes after all, it is no second question."""
    async with inside() as bridge:
        first, second = heard(bridge, "@二号助手\u2005一 [[text=好]]", mentioned=[SECOND])
        await bridge.take(first)
        await bridge.until_settled(1)
        await bridge.take(second)
        rows = await verdicts(bridge)

    assert words(gateway) == [Word(FIRST, "好")]
    assert rows == [(FIRST, "done", "answered"), (SECOND, "ignored", "other_account")]


@INSIDE_EMBEDDED
@pytest.mark.parametrize("shares_ids", [True, False])
async def test_an_account_that_is_off_in_the_group_is_not_stood_in_for(
    inside: StartInside, gateway: EcloudSimulator, *, shares_ids: bool
) -> None:
    """Its own rules said no: nobody answers what was said to it."""
    async with inside() as bridge:
        await hear(bridge, "一 [[text=甲]]", shares_ids=shares_ids)
        await bridge.until_settled(1)
        await bridge.until_rows(f"SELECT 1 FROM groups WHERE bot_wc_id = '{SECOND}'")
        await bridge.execute("UPDATE groups SET is_enabled = 0 WHERE bot_wc_id = :bot", bot=SECOND)
        await bridge.runtime.groups.load()
        said = "@二号助手\u2005二 [[text=乙]]"
        await hear(bridge, said, mentioned=[SECOND], shares_ids=shares_ids)
        await bridge.until_rows(
            "SELECT 1 FROM messages WHERE state = 'ignored' AND verdict = 'group_off'"
        )
        async with asyncio.timeout(20):
            while "left" in {state for _, state, _ in await verdicts(bridge)}:
                await asyncio.sleep(0.05)
        rows = await verdicts(bridge)

    assert [word.text for word in words(gateway)] == ["甲"]
    assert [verdict for _, _, verdict in rows[2:]] == ["other_account", "group_off"]


async def test_what_is_planned_for_an_account_that_went_offline_is_sent_by_the_other(
    inside: StartInside, gateway: EcloudSimulator, two_accounts: tuple[Account, Account]
) -> None:
    """In order, each once; also when the first one is back later."""
    async with inside(REPLY_MAX_LENGTH="60") as bridge:
        gateway.set_online(FIRST, online=False, notice=False)
        for number in range(3):
            await hear(bridge, f"{number} [[long=150]]")
        await bridge.until_settled(3)
        planned = await bridge.rows("SELECT content FROM segments ORDER BY id")
        gateway.set_online(FIRST, online=True)
        await hear(bridge, "九 [[text=末]]", by=[FIRST])
        await bridge.until_settled(4)

    contents = [one.content for one in gateway.sent]
    assert contents[:-1] == [row["content"] for row in planned]
    assert {one.bot for one in gateway.sent[:-1]} == {SECOND}
    assert gateway.sent[-1].bot == FIRST


@INSIDE_EMBEDDED
async def test_a_message_whose_account_is_known_to_be_offline_is_answered_by_the_other(
    inside: StartInside, gateway: EcloudSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is planned: the answer is the other one's from the beginning."""
    monkeypatch.setattr("app.workers.twin_keeper.LOOK_SECONDS", 1_000.0)
    async with inside(works=False) as bridge:
        await bridge.runtime.gateways.query_all()
        await hear(bridge, "一 [[text=好]]")
        gateway.set_online(FIRST, online=False, notice=False)
        await bridge.runtime.gateways.query_all()
        bridge.runtime.accounts.doubt(WcId(FIRST), Witness.NOTICE)
        await bridge.background.start()
        await bridge.until_settled(1)
        segments = await bridge.rows("SELECT bot_wc_id, tries FROM segments")

    assert words(gateway) == [Word(SECOND, "好")]
    assert segments == [{"bot_wc_id": SECOND, "tries": 1}]


@INSIDE_EMBEDDED
async def test_a_form_that_the_other_account_filled_in_waits_no_more(
    inside: StartInside,
    gateway: EcloudSimulator,
    dify: DifySimulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whichever account showed it; the next form is of the one that shows that."""
    monkeypatch.setattr("app.workers.twin_keeper.LOOK_SECONDS", 1_000.0)
    dify.add_app("app-forms", "chatflow")
    settings = {"DIFY_API_KEY": "app-forms", "DIFY_STREAMING_ENABLED": "true"}
    async with inside(**settings) as bridge:
        await hear(bridge, "下单 [[form=请确认。]] [[actions=同意|拒绝]] [[again=真的?]]")
        await bridge.until_settled(1)
        shown = await bridge.rows("SELECT bot_wc_id FROM pending_forms")
    async with inside(works=False, **settings) as bridge:
        await hear(bridge, "1")
        gateway.set_online(FIRST, online=False, notice=False)
        await bridge.runtime.gateways.query_all()
        bridge.runtime.accounts.doubt(WcId(FIRST), Witness.NOTICE)
        await bridge.background.start()
        await bridge.until_settled(2)
        left = await bridge.rows("SELECT bot_wc_id FROM pending_forms")

    assert shown == [{"bot_wc_id": FIRST}]
    assert left == [{"bot_wc_id": SECOND}]


@INSIDE_EMBEDDED
async def test_what_only_the_offline_account_heard_waits_for_it(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """The other one may not be in the group; it answers what it heard itself."""
    async with inside() as bridge:
        gateway.set_online(FIRST, online=False, notice=False)
        await hear(bridge, "一 [[text=甲]]", by=[FIRST])
        await bridge.until_rows("SELECT 1 FROM accounts WHERE state = 'offline'")
        await hear(bridge, "二 [[text=乙]]", person="小红")
        await bridge.until_settled(1)
        assert words(gateway) == [Word(SECOND, "乙")]
        gateway.set_online(FIRST, online=True)
        await bridge.until_settled(2)

    assert words(gateway) == [Word(SECOND, "乙"), Word(FIRST, "甲")]


@INSIDE_EMBEDDED
async def test_the_first_account_that_comes_back_answers_what_waited_for_both(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """Whoever claimed it."""
    async with inside() as bridge:
        await hear(bridge, "零 [[text=零]]", person="小红")
        await bridge.until_settled(1)
        for wc_id in (FIRST, SECOND):
            gateway.set_online(wc_id, online=False, notice=False)
        await hear(bridge, "一 [[text=甲]]")
        await hear(bridge, "二 [[text=乙]]")
        await bridge.until_rows("SELECT 1 FROM accounts WHERE state = 'offline'")
        gateway.set_online(SECOND, online=True)
        await bridge.runtime.gateways.query_all()
        await bridge.until_settled(3)

    assert words(gateway)[1:] == [Word(SECOND, "甲"), Word(SECOND, "乙")]


async def test_a_person_whose_answer_still_waits_gets_the_next_one_behind_it(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """The other account heard it first and would be quicker; whoever waits for nothing is answered by it."""
    async with inside(ECLOUD_SEND_GAP="2", ECLOUD_TARGET_GAP="0") as bridge:
        await hear(bridge, "零 [[text=零]]", person="小红")
        await bridge.until_settled(1)
        await hear(bridge, "一 [[text=甲]]")
        await bridge.until_rows(
            "SELECT 1 FROM messages WHERE question LIKE '一%' AND state = 'answered'"
        )
        await hear(bridge, "二 [[text=乙]]", by=[SECOND, FIRST])
        await hear(bridge, "三 [[text=丙]]", by=[SECOND, FIRST], person="小红")
        await bridge.until_settled(4)

    assert [word for word in words(gateway) if word.text in "甲乙"] == [
        Word(FIRST, "甲"),
        Word(FIRST, "乙"),
    ]
    assert Word(SECOND, "丙") in words(gateway)


@INSIDE_EMBEDDED
async def test_what_was_left_to_an_account_is_taken_up_though_it_is_ours_no_more(
    inside: StartInside,
) -> None:
    """Nor is there a gateway: the question has to wait for one, and not to be forgotten."""
    async with inside(works=False) as bridge:
        await hear(bridge, "@二号助手\u2005一 [[text=好]]", by=[FIRST], mentioned=[SECOND])
        await bridge.until_rows("SELECT 1 FROM messages WHERE state = 'left'")
        await bridge.execute("DELETE FROM accounts")
    async with inside(ECLOUD_BASE_URL="", ECLOUD_AUTHORIZATION="") as bridge:
        assert len(bridge.runtime.accounts.own_ids) < 2
        await bridge.until_rows("SELECT 1 FROM messages WHERE state = 'answered'", seconds=10)
