"""One callback in: parsed, decided, durable, and counted under exactly one verdict."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.models.flow import (
    Accepted,
    Decision,
    Duplicate,
    IgnoreReason,
    Left,
    MessageId,
    Noted,
    Question,
    Receipt,
    Refused,
    RefuseReason,
    Trigger,
    Unrecorded,
    WcId,
)
from app.models.message import Message
from app.services.accounts import Accounts
from app.services.contacts import Contacts
from app.services.decide import GroupRules
from app.services.errors import StoreUnavailable
from app.services.figures import read_ledger
from app.services.forms import Forms
from app.services.groups import Groups, GroupSettings
from app.services.inbox import Inbox
from app.services.metrics import Metrics
from app.services.queue.offline_notices import OfflineNotices
from app.services.queue.redis_queue import RedisQueue
from app.services.recalls import Recalls
from app.services.reception import Reception, verdict_of
from app.services.room import Bounds
from app.services.room_news import RoomNewsBook
from app.services.spill import Spill
from app.services.stages import Stages
from app.services.store import Store
from app.services.suggestions import Suggestions
from app.utils.clock import SystemClock
from app.utils.ids import IdMaker
from tests.fixtures.callbacks import make_ignored, make_question
from tests.fixtures.stores import SwitchedStore, rows_of

SAMPLES = sorted((Path(__file__).resolve().parents[1] / "samples" / "ecloud").glob("*.json"))
MESSAGE_ID = MessageId(5)
#: Who wrote the recorded texts.
PERSON = "wxid_lanlan5521m22"


class Office:
    """A reception with everything behind it."""

    def __init__(self, store: Store, queue: RedisQueue, folder: Path, **rules: Any) -> None:
        self.store = store
        self.accounts = Accounts(store)
        self.groups = Groups(store, GroupSettings(rules=GroupRules(**rules)))
        self.contacts = Contacts(store, max_age=timedelta(days=1))
        self.metrics = Metrics(version="0")
        self.notices = OfflineNotices(queue._redis)
        self.spill = Spill(folder, max_bytes=1 << 20)
        self.inbox = Inbox(
            store=store,
            queue=queue,
            spill=self.spill,
            stages=Stages(store),
            ids=IdMaker(),
            clock=SystemClock(),
            bounds=lambda: Bounds(per_user=3, in_all=100),
            keep_ignored_text=False,
        )
        self.reception = Reception(
            inbox=self.inbox,
            accounts=self.accounts,
            groups=self.groups,
            contacts=self.contacts,
            room_news=RoomNewsBook(store),
            recalls=Recalls(store, SystemClock(), keeps_text=False),
            notices=self.notices,
            suggestions=Suggestions(store),
            forms=Forms(store),
            metrics=self.metrics,
            clock=SystemClock(),
        )

    def counts(self, name: str = "bridge_callbacks_total") -> dict[str, int]:
        """Callbacks by verdict, as Prometheus is told."""
        families = text_string_to_metric_families(self.metrics.exposition().decode())
        return {
            sample.labels["verdict"]: int(sample.value)
            for family in families
            for sample in family.samples
            if sample.name == name and sample.value
        }


@pytest.fixture
def office(switch: SwitchedStore, redis_queue: RedisQueue, tmp_path: Path) -> Office:
    """Answers every text."""
    return Office(switch, redis_queue, tmp_path / "spill")


def sample(
    name: str = "group_text", envelope: dict[str, Any] | None = None, /, **data: Any
) -> bytes:
    """A recorded callback, with some of its values changed."""
    path = next(path for path in SAMPLES if path.stem == name)
    body = json.loads(path.read_text("utf-8")) | (envelope or {})
    body["data"] |= data
    return json.dumps(body).encode()


async def test_a_text_of_a_group_is_accepted_and_everything_learnt_from_it(
    office: Office,
) -> None:
    """The account, the group, who wrote; and the message waits."""
    receipt = await office.reception.take(sample())

    [row] = await rows_of(office.store, Message)
    assert receipt == Accepted(message_id=row.id)
    assert office.accounts.own_ids == {row.bot_wc_id}
    assert office.groups._unseen == {(row.bot_wc_id, row.group_id)}
    assert {(one.group_id, one.user) for one in office.contacts._seen} == {
        (row.group_id, row.from_user)
    }
    assert office.counts() == {"accepted": 1}


@pytest.mark.parametrize(
    "body", [path.read_bytes() for path in SAMPLES], ids=[path.stem for path in SAMPLES]
)
async def test_every_recorded_callback_has_one_verdict_and_one_row(
    office: Office, body: bytes
) -> None:
    """Received = sum of verdicts + waiting, in SQL and in the metrics."""
    receipt = await office.reception.take(body)

    assert isinstance(receipt, Accepted | Noted)
    ledger = await read_ledger(office.store)
    assert ledger.received == 1
    assert sum(ledger.verdicts.values()) + ledger.waiting == 1
    assert sum(office.counts().values()) == 1


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        (b"", "bad_json"),
        (b"\xff\xfe{", "bad_json"),
        (b"[" * 100_000, "bad_json"),
        (b'{"messageType":"80001","data":{"content":"\\ud800"}}', "bad_json"),
        (b"[]", "bad_shape"),
        (b'{"messageType":{}}', "bad_shape"),
        (b'{"messageType":"99999"}', "unknown_type"),
        (b'{"messageType":"00000"}', "test_push"),
    ],
)
async def test_garbage_is_kept_bounded_and_never_raises(
    office: Office, body: bytes, verdict: str
) -> None:
    """The gateway does not repeat: what is odd is kept for a look, twice as two rows."""
    receipts = [await office.reception.take(body) for _ in range(2)]

    assert {type(receipt) for receipt in receipts} == {Noted}
    rows = await rows_of(office.store, Message)
    assert [row.verdict for row in rows] == [verdict] * 2
    assert all(len(row.raw or "") <= 65_536 * 4 for row in rows)
    assert office.counts() == {verdict: 2}


async def test_of_a_body_that_is_too_large_the_beginning_is_kept(office: Office) -> None:
    """Four KiB, whatever it is."""
    receipt = await office.reception.take_too_large(b"\xe4" * 1_000_000)

    [row] = await rows_of(office.store, Message)
    assert (row.verdict, row.state) == ("too_large", "ignored")
    assert row.raw == "\\xe4" * 4096
    assert isinstance(receipt, Noted)


async def test_a_second_delivery_is_counted_as_such(office: Office) -> None:
    """Also when it comes under another wId."""
    first = await office.reception.take(sample())
    again = await office.reception.take(sample(wId="another"))

    assert isinstance(first, Accepted)
    assert again == Duplicate(message_id=first.message_id)
    assert office.counts() == {"accepted": 1, "duplicate": 1}


async def test_a_refused_message_is_counted_under_its_reason(office: Office) -> None:
    """And nobody is looked up for it."""
    receipts = [await office.reception.take(sample(newMsgId=n)) for n in range(1, 5)]

    assert isinstance(receipts[3], Refused)
    assert office.counts() == {"accepted": 3, "user_queue_full": 1}
    ledger = await read_ledger(office.store)
    assert (ledger.received, ledger.waiting, ledger.verdicts) == (4, 3, {"user_queue_full": 1})


async def test_the_rules_of_the_group_decide(
    switch: SwitchedStore, redis_queue: RedisQueue, tmp_path: Path
) -> None:
    """Only mentions are answered here."""
    office = Office(switch, redis_queue, tmp_path / "spill", trigger=Trigger.MENTION)

    plain = await office.reception.take(sample("group_text"))
    mention = await office.reception.take(sample("group_text_mention"))

    assert (type(plain), type(mention)) == (Noted, Accepted)
    assert office.counts() == {"not_mentioned": 1, "accepted": 1}
    assert len(office.contacts._seen) == 1


async def test_another_account_of_ours_is_never_answered(office: Office) -> None:
    """Two of our accounts in one group."""
    office.accounts.learn([(json.loads(sample())["data"]["fromUser"], "w")], time=1)

    receipt = await office.reception.take(sample())

    assert isinstance(receipt, Noted)
    assert office.counts() == {"own_message": 1}


async def test_on_a_fresh_install_the_readmes_example_is_answered_and_its_echo_is_not(
    office: Office,
) -> None:
    """Nobody has asked the gateway for logins yet; the callback itself proves the account."""
    receipt = await office.reception.take(sample("readme_example"))
    bot = json.loads(sample("readme_example"))["wcId"]
    echo = sample("readme_example", fromUser=bot, newMsgId=1)

    assert isinstance(receipt, Accepted)
    assert office.accounts.login(WcId(bot)) is not None
    assert isinstance(await office.reception.take(echo), Noted)
    assert office.counts() == {"accepted": 1, "own_message": 1}


@pytest.mark.parametrize(
    ("name", "envelope", "data"),
    [
        ("offline", {"wcId": PERSON}, {}),
        ("offline", {"wcId": PERSON}, {"toUser": PERSON, "timestamp": 1767000001}),
        ("group_text", {"wcId": PERSON}, {}),
        ("group_text", {"wcId": ""}, {"toUser": PERSON, "fromUser": "wxid_x"}),
        ("group_image", {"wcId": PERSON}, {"toUser": PERSON, "fromUser": "wxid_x"}),
        ("group_text", {"wcId": PERSON}, {"toUser": PERSON, "fromUser": "wxid_x", "wId": ""}),
    ],
)
async def test_an_odd_callback_makes_no_member_mute(
    office: Office, name: str, envelope: dict[str, Any], data: dict[str, Any]
) -> None:
    """It names a person where our account should stand; his questions are answered all the same."""
    await office.reception.take(sample(name, envelope, newMsgId=1, **data))

    assert PERSON not in office.accounts.own_ids
    assert isinstance(await office.reception.take(sample()), Accepted)


async def test_a_login_that_is_over_is_not_taken_from_the_news_of_its_end(office: Office) -> None:
    """30000 comes at a fresh start and names a stale instance; the next message names the right one."""
    offline = json.loads(sample("offline"))
    bot = WcId(offline["wcId"])
    await office.reception.take(sample("offline", wId="w-stale"))
    assert office.accounts.login(bot) is None

    await office.reception.take(sample(wId="w-new"))
    await office.reception.take(sample("offline", wId="w-stale"))
    known = office.accounts.login(bot)
    office.accounts.refuse(bot, "w-new")
    await office.reception.take(sample("offline", wId="w-stale"))
    refused = office.accounts.login(bot)

    assert [one and one.w_id for one in (known, refused)] == ["w-new", ""]


async def test_two_accounts_in_one_group_never_answer_each_other(office: Office) -> None:
    """The second is not known yet: its own copy of what the person said proves it in time."""
    first, second = json.loads(sample())["wcId"], "wxid_second7788"
    of_second = {"wcId": second}

    heard_twice = [
        await office.reception.take(sample()),
        await office.reception.take(sample("group_text", of_second, toUser=second)),
    ]
    answers = [
        await office.reception.take(sample(fromUser=second, newMsgId=2)),
        await office.reception.take(
            sample("group_text", of_second, toUser=second, fromUser=first, newMsgId=3)
        ),
    ]

    assert [type(one) for one in heard_twice] == [Accepted, Left]
    assert [type(one) for one in answers] == [Noted, Noted]
    assert office.counts() == {"accepted": 1, "other_account": 1, "own_message": 2}


async def test_what_a_second_account_writes_by_hand_proves_it(office: Office) -> None:
    """Before anybody spoke to it: its own copy says that it is ours, the other's copy is ignored."""
    second, room = "wxid_second7788", "48123450077@chatroom"
    own = {"toUser": room, "fromUser": second, "self": True, "newMsgId": 2}
    await office.reception.take(sample("group_text", {"wcId": second}, **own))

    receipt = await office.reception.take(sample(fromUser=second, newMsgId=2))

    assert isinstance(receipt, Noted)
    assert office.counts() == {"own_message": 2}


async def test_nothing_durable_is_an_error_and_counted(
    office: Office, switch: SwitchedStore
) -> None:
    """A question: the caller answers 503."""
    switch.is_away = True
    office.spill._max_bytes = 1

    with pytest.raises(StoreUnavailable):
        await office.reception.take(sample())

    assert office.counts() == {"unavailable": 1}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (sample("test_push"), IgnoreReason.TEST_PUSH),
        (sample("group_image"), IgnoreReason.UNSUPPORTED_TYPE),
        (b"garbage", IgnoreReason.BAD_JSON),
    ],
)
async def test_what_needs_no_answer_is_counted_and_let_go_while_nothing_is_durable(
    office: Office,
    switch: SwitchedStore,
    log_lines: list[str],
    body: bytes,
    reason: IgnoreReason,
) -> None:
    """The caller answers 200; the sum over SQL can be explained by a counter of its own."""
    switch.is_away = True
    office.spill._max_bytes = 1

    assert await office.reception.take(body) == Unrecorded(reason=reason)

    assert office.counts() == {reason: 1} == office.counts("bridge_callbacks_unrecorded_total")
    assert [line for line in log_lines if f"callback.unrecorded verdict={reason}" in line]
    switch.is_away = False
    assert isinstance(await office.reception.take(body), Noted)
    assert (await read_ledger(office.store)).verdicts == {reason: 1}
    assert office.counts() == {reason: 2}
    assert office.counts("bridge_callbacks_unrecorded_total") == {reason: 1}


async def test_of_a_body_that_is_too_large_nothing_is_kept_while_nothing_is_durable(
    office: Office, switch: SwitchedStore
) -> None:
    """It is as unwelcome as ever, and no fault of the stores."""
    switch.is_away = True
    office.spill._max_bytes = 1

    receipt = await office.reception.take_too_large(b"x")

    assert receipt == Unrecorded(reason=IgnoreReason.TOO_LARGE)


async def test_the_budget_ends_a_callback_and_what_is_durable_later_stays(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway gives up after six seconds: it hears something before; the row may still come."""
    go = asyncio.Event()
    insert = office.inbox._table.insert_in_time

    async def slow(*arguments: Any) -> Any:
        await go.wait()
        return await insert(*arguments)

    monkeypatch.setattr(office.inbox._table, "insert_in_time", slow)
    with pytest.raises(StoreUnavailable):
        await office.reception.take(sample(), seconds=0.05)
    go.set()

    async with asyncio.timeout(30):
        while not await rows_of(office.store, Message):
            await asyncio.sleep(0.01)
        assert isinstance(await office.reception.take(sample()), Duplicate)


@pytest.mark.parametrize(
    ("decision", "receipt", "verdict"),
    [
        (make_question(), Accepted(message_id=MESSAGE_ID), "accepted"),
        (make_question(), Duplicate(message_id=MESSAGE_ID), "duplicate"),
        (make_ignored(), Duplicate(message_id=MESSAGE_ID), "duplicate"),
        (
            make_question(),
            Refused(message_id=MESSAGE_ID, reason=RefuseReason.TOO_MANY_WAITING),
            "too_many_waiting",
        ),
        (make_ignored(IgnoreReason.TOO_OLD), Noted(message_id=MESSAGE_ID), "too_old"),
    ],
)
def test_a_callback_is_counted_under_one_word(
    decision: Decision, receipt: Receipt, verdict: str
) -> None:
    """What became of it, else why not."""
    assert verdict_of(decision, receipt) == verdict
    assert isinstance(decision, Question) or verdict in {"duplicate", "too_old"}
