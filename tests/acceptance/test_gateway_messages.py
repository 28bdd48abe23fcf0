"""
Every row of the tables in ``docs/gateway-messages.md``, played through the whole running bridge.

What becomes of each message stands in the page and is read from there; what people do, and the
exact words in the group, stand here. Every row has a group and two people of its own.
"""

import asyncio
import re
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import create_engine, insert

from app.models.account import GROUPS
from app.models.contact import CONTACTS, GROUP_MEMBERS
from app.models.flow import IgnoreReason
from app.services.ecloud.wire import TYPE_NAMES
from app.services.stages import utc_now
from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from simulators.ecloud_kinds import KINDS
from simulators.ecloud_sends import SentMessage
from simulators.ecloud_world import World
from tests.fixtures.bridge import ROOT, Bridge, embedded_stores, peer_variables

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = ROOT / "docs" / "gateway-messages.md"
BOT = "wxid_botkinds000b22"
NEWCOMER = "wxid_newcomer00c21"
NOTHING: tuple[str, ...] = ()
SECONDS = 40.0
END = "\u2005"


@dataclass(frozen=True, kw_only=True)
class PageRow:
    """One row as the page has it."""

    name: str
    codes: tuple[str, ...]
    #: The group reads an answer.
    is_answered: bool
    verdicts: tuple[str, ...]
    details: tuple[str, ...]


def page_rows() -> list[PageRow]:
    """The rows of all tables that begin with a name in code."""
    rows = []
    for line in PAGE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| `") and len(cells) == 7:
            name, codes, _, _, seen, verdicts, details = cells
            rows.append(
                PageRow(
                    name=name.strip("`"),
                    codes=tuple(re.findall(r"\d{5}", codes)),
                    is_answered={"回答": True, "没有": False}[seen],
                    verdicts=tuple(re.findall(r"`([a-z_]+)`", verdicts)),
                    details=tuple(re.findall(r"`([^`]+)`", details)),
                )
            )
    return rows


@dataclass(eq=False, kw_only=True)
class Stage:
    """The running bridge between the simulated peers."""

    gateway: EcloudSimulator
    dify: DifySimulator
    bridge: Bridge

    def room(self, row: PageRow) -> str:
        """Id of a row's group."""
        return group_of(row.name)

    def sent(self, row: PageRow) -> list[SentMessage]:
        """What a row's group reads."""
        room = self.room(row)
        return [one for one in self.gateway.sent if one.to == room]

    def asked(self, row: PageRow) -> list[str]:
        """What Dify was asked for the people of a row."""
        return [
            str(one.facts.get("query"))
            for one in self.dify.questions()
            if one.facts.get("user") == person_of(row.name)
        ]

    async def messages(self, row: PageRow) -> list[dict[str, Any]]:
        """The rows of the inbox that belong to a row, as soon as all have their outcome."""
        group, person = self.room(row), person_of(row.name)
        own = CASES[row.name].found or f"group_id = '{group}' OR from_user = '{person}'"
        statement = (
            f"SELECT verdict, detail, state, message_type FROM messages WHERE ({own}) ORDER BY id"
        )
        async with asyncio.timeout(SECONDS):
            while True:
                found = await self.bridge.rows(statement)
                ended = [one for one in found if one["state"] in ("ignored", "done")]
                if len(ended) == len(found) >= len(row.verdicts):
                    return found
                await asyncio.sleep(0.05)

    async def until(self, statement: str, value: Any) -> None:
        """Returns when a look into the database gives this value."""
        async with asyncio.timeout(SECONDS):
            while [tuple(one.values()) for one in await self.bridge.rows(statement)] != value:
                await asyncio.sleep(0.1)

    async def until_answered(self, row: PageRow, count: int = 1) -> None:
        """Returns when a row's group has read so many messages."""
        room = self.room(row)
        await self.gateway.recorder.until(
            lambda: sum(one.to == room for one in self.gateway.sent) >= count, SECONDS
        )


def person_of(row: str) -> str:
    """Who speaks in a row."""
    return f"wxid_p_{row}"


def other_of(row: str) -> str:
    """Who else is in the group of a row."""
    return f"wxid_q_{row}"


Act = Callable[[Stage, PageRow], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Case:
    """What people do, and what is to be seen of it."""

    act: Act
    said: tuple[str, ...] = NOTHING
    #: Who is called by the first message of the answer; None: not looked at.
    at: tuple[str, ...] | None = None
    #: What Dify is asked, without the orders to the simulated one; None: not looked at.
    asked: tuple[str, ...] | None = None
    trigger: str = ""
    nick_name: str = "小明"
    shown_name: str = ""
    #: A look into the address book, and what it gives in the end.
    book: tuple[str, Sequence[tuple[Any, ...]]] | None = None
    #: By what its messages are found in the inbox; empty: by its group and its person.
    found: str = ""


def says(text: str, **how: Any) -> Act:
    """A person writes."""

    async def act(stage: Stage, row: PageRow) -> None:
        stage.gateway.say(row.name, person_of(row.name), text, **how)

    return act


def does(kind: str, /, **how: Any) -> Act:
    """A person does something that needs nobody else."""

    async def act(stage: Stage, row: PageRow) -> None:
        stage.gateway.acts.do(kind, row.name, person_of(row.name), how, ())

    return act


async def quotes_bot(stage: Stage, row: PageRow) -> None:
    """Asks, and asks again by a quote of the answer, without an @."""
    stage.gateway.say(row.name, person_of(row.name), "报销 [[text=先填表。]]", mention_bot=True)
    await stage.until_answered(row)
    stage.gateway.acts.quote(
        row.name, person_of(row.name), "然后 [[text=再签字。]]", sent=stage.gateway.sent
    )


async def quotes_other(stage: Stage, row: PageRow) -> None:
    """Quotes what somebody else wrote."""
    acts = stage.gateway.acts
    said = stage.gateway.say(row.name, other_of(row.name), "在三楼「左」边 [[text=好。]]")
    await stage.until_answered(row)
    acts.quote(row.name, person_of(row.name), "几点开门 [[text=九点。]]", said.new_msg_id)


async def quotes_picture(stage: Stage, row: PageRow) -> None:
    """Quotes a message that is no text."""
    room = stage.room(row)
    stage.gateway.say(
        row.name,
        person_of(row.name),
        "<msg><appmsg><title>这是谁 [[text=不知道。]]</title><type>57</type><refermsg><type>3</type>"
        f"<svrid>77</svrid><fromusr>{room}</fromusr><chatusr>{other_of(row.name)}</chatusr>"
        "<displayname>小红</displayname><content>&lt;msg&gt;&lt;img /&gt;&lt;/msg&gt;</content>"
        "</refermsg></appmsg></msg>",
        message_type="80014",
    )


async def recalls_waiting(stage: Stage, row: PageRow) -> None:
    """The second question is taken back while the first is in work."""
    person = person_of(row.name)
    stage.gateway.say(row.name, person, "一 [[wait=1]] [[text=甲]]")
    second = stage.gateway.say(row.name, person, "二 [[text=乙]]")
    stage.gateway.acts.recall(row.name, person, second)


async def recalls_in_work(stage: Stage, row: PageRow) -> None:
    """Dify is at it for a minute."""
    person = person_of(row.name)
    said = stage.gateway.say(row.name, person, "一 [[wait=60]] [[text=甲]]")
    await stage.dify.recorder.until(lambda: len(stage.asked(row)) == 1, SECONDS)
    stage.gateway.acts.recall(row.name, person, said)


async def recalls_answered(stage: Stage, row: PageRow) -> None:
    """Too late."""
    person = person_of(row.name)
    said = stage.gateway.say(row.name, person, "一 [[text=甲]]")
    await stage.until_answered(row)
    await stage.until(
        f"SELECT COUNT(*) FROM messages WHERE from_user = '{person}' AND state = 'done'", [(1,)]
    )
    stage.gateway.acts.recall(row.name, person, said)


def speaks_privately(message_type: str) -> Act:
    """Not in any group."""

    async def act(stage: Stage, row: PageRow) -> None:
        person = person_of(row.name)
        msg_id, new_msg_id = stage.gateway.world.new_ids()
        data = (
            f'"fromUser":"{person}","toUser":"{BOT}","content":"在吗","msgId":{msg_id},'
            f'"newMsgId":{new_msg_id},"timestamp":1767000000,"self":false,"wId":"w"'
        )
        body = f'{{"messageType":"{message_type}","wcId":"{BOT}","data":{{{data}}}}}'
        await stage.gateway.post_raw(body.encode())

    return act


async def speaks_as_bot(stage: Stage, row: PageRow) -> None:
    """Whoever has the account's phone."""
    stage.gateway.say(row.name, BOT, "我来回答")


def shaped(fault: str, value: float = 0.0, **how: Any) -> Act:
    """A person writes, and the gateway posts that in one of its odd shapes."""

    async def act(stage: Stage, row: PageRow) -> None:
        stage.gateway.faults.set(fault, value, times=1)
        stage.gateway.say(row.name, person_of(row.name), "一 [[text=好。]]", **how)
        await stage.gateway.courier.idle()

    return act


async def comes_back(stage: Stage, row: PageRow) -> None:
    """The gateway posts what the account sent, with the newMsgId of its answer."""
    stage.gateway.faults.set("echo", times=1)
    stage.gateway.say(row.name, person_of(row.name), "一 [[text=好。]]")
    await stage.until_answered(row)


async def comes_again_after_login(stage: Stage, row: PageRow) -> None:
    """The same newMsgId under the wId of a new login."""
    stage.gateway.say(row.name, person_of(row.name), "一 [[text=好。]]")
    await stage.until_answered(row)
    stage.gateway.rotate(replay=1)
    await stage.gateway.courier.idle()


async def was_said_yesterday(stage: Stage, row: PageRow) -> None:
    """The gateway posts history."""
    yesterday = int(time.time()) - 24 * 3600
    stage.gateway.say(row.name, person_of(row.name), "一 [[text=好。]]", timestamp=yesterday)


async def pushes_a_test(stage: Stage, _row: PageRow) -> None:
    """As after a registration."""
    stage.gateway.speech.test_push()


async def says_that_a_former_login_ended(stage: Stage, _row: PageRow) -> None:
    """Of an instance that is no more."""
    body = f'{{"messageType":"30000","wcId":"{BOT}","data":{{"wId":"w-of-yesterday"}}}}'
    await stage.gateway.post_raw(body.encode())


async def brings_something_new(stage: Stage, row: PageRow) -> None:
    """A type that nobody knows yet."""
    says_it = says("?", message_type="80777")
    await says_it(stage, row)


def media(kind: str, **how: Any) -> Case:
    """Somebody sends something that is no text."""
    return Case(act=does(kind, **how), asked=())


def in_book(columns: str, table: str, row: str, *values: Any) -> tuple[str, list[tuple[Any, ...]]]:
    """A look at what the address book has of the group of a row."""
    key = "wc_id" if table == "contacts" else "group_id"
    statement = f"SELECT {columns} FROM {table} WHERE {key} = '{group_of(row)}' ORDER BY 1"
    return statement, [(value,) for value in values]


def is_looked_up(row: str) -> tuple[str, list[tuple[Any, ...]]]:
    """The group of a row is due to be asked about, a minute after the last time."""
    return in_book("next_fetch_at IS NOT NULL", "contacts", row, 1)


def group_of(row: str) -> str:
    """Id of the group of a row."""
    return f"{sum(ord(char) * 131**place for place, char in enumerate(row)) % 10**11}@chatroom"


CASES: Mapping[str, Case] = {
    "text": Case(act=says("几点开会 [[text=三点。]]"), said=("三点。",)),
    "mention": Case(
        act=says("几点开会 [[text=三点。]]", mention_bot=True),
        said=("三点。",),
        asked=("几点开会",),
        trigger="mention",
    ),
    "quote": Case(
        act=quotes_other,
        said=("好。", "九点。"),
        asked=("「引用 小红:在三楼『左』边 [[text=好。]]」\n几点开门",),
    ),
    "quote-bot": Case(
        act=quotes_bot,
        said=("先填表。", "再签字。"),
        asked=("报销", f"「引用 小助手:@小明{END}先填表。」\n然后"),
        trigger="mention",
    ),
    "quote-picture": Case(
        act=quotes_picture, said=("不知道。",), asked=("「引用 小红:[图片]」\n这是谁",)
    ),
    **{name: media(name) for name in KINDS if name != "file"},
    "file": media("file"),
    "file-announced": media("file", finished=False),
    "pat": Case(act=does("pat", patted="小助手"), asked=()),
    "private": Case(act=speaks_privately("60001"), asked=()),
    "private-picture": Case(act=speaks_privately("60002"), asked=()),
    "official": Case(act=speaks_privately("90001"), asked=()),
    "unknown": Case(act=brings_something_new, asked=()),
    "own": Case(act=speaks_as_bot, asked=()),
    "echo": Case(act=comes_back, said=("好。",), asked=("一",)),
    "duplicate": Case(act=shaped("duplicate", 2), said=("好。",), asked=("一",)),
    "replayed": Case(act=comes_again_after_login, said=("好。",), asked=("一",)),
    "too-old": Case(act=was_said_yesterday, asked=()),
    "mislabelled": Case(act=shaped("mislabel", 1), said=("好。",), asked=("一",)),
    "room-as-sender": Case(act=shaped("mislabel", 0), asked=()),
    "native": Case(act=shaped("native_type"), said=("好。",), asked=("一",)),
    "strings": Case(act=shaped("ids_as_strings"), said=("好。",), asked=("一",)),
    "numbers": Case(act=shaped("strings_as_numbers"), said=("好。",), asked=("一",)),
    "room-spelling": Case(act=shaped("odd_room"), said=("好。",), asked=("一",)),
    "sender-prefix": Case(act=shaped("sender_prefix"), said=("好。",), asked=("一",)),
    "no-self": Case(act=shaped("no_self"), said=("好。",), asked=("一",)),
    "no-id": Case(act=shaped("no_new_msg_id", 1), said=("好。",), asked=("一",)),
    "atlist-text": Case(
        act=shaped("odd_atlist", mention_bot=True), said=("好。",), asked=("一",), trigger="mention"
    ),
    "no-atlist": Case(act=shaped("no_atlist", mention_bot=True), asked=(), trigger="mention"),
    "test-push": Case(act=pushes_a_test, asked=(), found="message_type = '00000'"),
    "offline-notice": Case(
        act=says_that_a_former_login_ended, asked=(), found="message_type = '30000'"
    ),
    "recall-waiting": Case(act=recalls_waiting, said=("甲",), asked=("一",)),
    "recall-in-work": Case(act=recalls_in_work, asked=("一",)),
    "recall-answered": Case(act=recalls_answered, said=("甲",), asked=("一",)),
    "invited": Case(act=does("join", wc_id=NEWCOMER), book=is_looked_up("invited")),
    "joined-by-code": Case(
        act=does("join", wc_id=NEWCOMER, by_code=True),
        book=in_book("nick_name", "group_members", "joined-by-code", "小明", "铁柱"),
    ),
    "removed": Case(act=does("remove"), book=is_looked_up("removed")),
    "renamed": Case(
        act=does("rename", name="三楼行政"),
        book=in_book("nick_name", "contacts", "renamed", "三楼行政"),
    ),
    "dissolved": Case(
        act=does("dissolve"), book=in_book("COUNT(*)", "group_members", "dissolved", 0)
    ),
    "left": Case(act=does("leave"), book=in_book("COUNT(*)", "group_members", "left", 0)),
    "thrown-out": Case(
        act=says("你被移出群聊", message_type="85002"),
        asked=(),
        book=in_book("COUNT(*)", "group_members", "thrown-out", 0),
    ),
    "owner": Case(
        act=says("小红已成为新群主", message_type="85010"), asked=(), book=is_looked_up("owner")
    ),
    "announcement": Case(act=says("周五放假", message_type="85011"), asked=()),
    "at-group-name": Case(
        act=says("一 [[text=好]]"),
        said=(f"@老王（财务）{END}好",),
        at=("at-group-name",),
        shown_name="老王（财务）",
    ),
    "at-nickname": Case(act=says("一 [[text=好]]"), said=(f"@小明{END}好",), at=("at-nickname",)),
    "at-nobody-else": Case(
        act=says("一 [[text=@小红 说得对]]"),
        said=(f"@小明{END}@小红 说得对",),
        at=("at-nobody-else",),
    ),
    "at-everybody": Case(
        act=says("一 [[text=@所有人 ＠all notify@all 好]]"),
        said=(f"@小明{END}﹫所有人 ﹫all notify﹫all 好",),
        at=("at-everybody",),
    ),
    "named-everybody": Case(
        act=says("一 [[text=好]]"), said=("好",), at=NOTHING, nick_name="所有人"
    ),
}

ROWS = page_rows()


def set_up(world: World) -> None:
    """A group of its own for every row, with two people."""
    world.add_account(BOT, "小助手")
    world.add_person(NEWCOMER, "铁柱")
    for name, case in CASES.items():
        world.add_person(person_of(name), case.nick_name)
        world.add_person(other_of(name), "小红")
        group = world.add_group(
            group_of(name), name, {person_of(name): case.shown_name, other_of(name): ""}
        )
        assert group.group_id == group_of(name)


def write_down(path: Path) -> None:
    """What the bridge knows of the groups: fresh, so that nothing is looked up."""
    now = utc_now()
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        for name, case in CASES.items():
            room = group_of(name)
            seen = {"bot_wc_id": BOT, "group_id": "", "fetched_at": now, "seen_at": now}
            connection.execute(
                insert(CONTACTS), {"wc_id": room, "nick_name": name, "kind": "group", **seen}
            )
            member = {
                "group_id": room,
                "wc_id": person_of(name),
                "display_name": case.shown_name,
                "nick_name": case.nick_name,
                "fetched_at": now,
            }
            connection.execute(insert(GROUP_MEMBERS), member)
            if case.trigger:
                rule = {"bot_wc_id": BOT, "group_id": room, "trigger": case.trigger}
                connection.execute(insert(GROUPS), {**rule, "first_seen_at": now})
    engine.dispose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(
    tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path
) -> AsyncIterator[Stage]:
    """The running bridge."""
    folder = tmp_path_factory.mktemp("gateway-messages")
    (folder / "data").mkdir()
    path = folder / "data" / "bridge.db"
    shutil.copy(migrated_sqlite, path)
    write_down(path)
    world = World(seed=1)
    set_up(world)
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(EcloudSimulator.start(world=world))
        dify = await stack.enter_async_context(DifySimulator.start())
        variables = peer_variables(gateway, dify) | {"MESSAGE_PROCESSING_MAX_MESSAGE_AGE": "3600"}
        bridge = Bridge(embedded_stores(folder), variables)
        gateway.callback_url = bridge.callback_url
        stack.callback(bridge.kill)
        await bridge.start()
        yield Stage(gateway=gateway, dify=dify, bridge=bridge)


async def test_page_and_tests_name_the_same_rows() -> None:
    """A row without a test, or a test without a row, is a promise that nobody looks after."""
    assert sorted(row.name for row in ROWS) == sorted(CASES)


async def test_every_type_that_people_can_send_has_a_row() -> None:
    """All of the table of types but those that no member of a group can cause."""
    shown = {code for row in ROWS for code in row.codes}
    group_codes = {code for code in TYPE_NAMES if code.startswith("80")}

    assert group_codes <= shown


async def test_what_the_page_calls_a_verdict_is_one() -> None:
    """In the word of the table ``messages``."""
    known = {*IgnoreReason, "answered"}

    assert {verdict for row in ROWS for verdict in row.verdicts} <= known


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_row(row: PageRow, stage: Stage) -> None:
    """The group, the messages and what Dify was asked are as the page says."""
    case = CASES[row.name]

    await case.act(stage, row)

    messages = await stage.messages(row)
    assert tuple(one["verdict"] for one in messages) == row.verdicts
    assert tuple(one["detail"] for one in messages if one["detail"]) == row.details
    assert {one["message_type"] for one in messages} >= set(row.codes)
    said = stage.sent(row)
    words = tuple(
        one.content if case.at is not None else one.content.split(END)[-1] for one in said
    )
    assert words == case.said
    assert bool(said) is row.is_answered
    if case.at is not None:
        assert said[0].at == tuple(person_of(name) for name in case.at)
    if case.asked is not None:
        asked = [re.sub(r" \[\[[^]]*\]\](?!」)", "", query) for query in stage.asked(row)]
        assert tuple(asked) == case.asked
    if case.book is not None:
        await stage.until(*case.book)
