"""No page of the console reads all messages: MariaDB's own plan of each statement says so."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, insert, text

from app.console.reading import messages
from app.console.reading.messages import MessageFilter, MessageList, read_messages
from app.console.reading.one_message import read_one
from app.console.reading.traffic import SPANS, read_traffic
from app.models.account import Account
from app.models.message import COUNTED_BY, MESSAGES
from app.services.dead_letters import Choice, DeadLetters
from app.services.figures import read_figures
from app.services.stages import utc_now
from app.services.store import Store
from app.utils.ids import id_at
from tests.fixtures.stores import MYSQL

ROWS = 6000
DAYS = 60
pytestmark = [
    pytest.mark.mysql,
    pytest.mark.parametrize("store_url", [MYSQL], indirect=True),
]
STATES = ("done", "done", "done", "ignored", "ignored", "dead", "answered", "received", "refused")


@pytest.fixture
async def filled(store: Store) -> Store:
    """Two months of messages, of which a day is one in sixty."""
    now = utc_now()
    chance = random.Random(1)
    rows = [_row(number, now, chance) for number in range(ROWS)]
    async with store.write() as connection:
        for start in range(0, ROWS, 1000):
            await connection.execute(insert(MESSAGES), rows[start : start + 1000])
        for bot in ("wxid_bot", "wxid_other"):
            await connection.execute(insert(Account), {"wc_id": bot, "since": now})
    async with store.read() as connection:
        await connection.execute(text("ANALYZE TABLE messages"))
    return store


def _row(number: int, now: datetime, chance: random.Random) -> dict[str, Any]:
    received = now - timedelta(days=DAYS) * (number / ROWS)
    state = chance.choice(STATES)
    return {
        "id": id_at(received.timestamp()) + number,
        "bot_wc_id": "wxid_bot",
        "dedupe_key": str(number),
        "from_user": f"wxid_{chance.randrange(200)}",
        "group_id": f"{chance.randrange(50)}@chatroom",
        "text": "几点开门" * 5,
        "state": state,
        "verdict": "failed:crashed" if state == "dead" else "answered",
        "received_at": received,
    }


@pytest.fixture
def statements(filled: Store) -> Iterator[list[tuple[str, Any]]]:
    """Every SELECT on messages from now on, with its values."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if statement.startswith("SELECT") and "messages" in statement:
            seen.append((statement, values))

    engine = filled._reader.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


async def plans(store: Store, statements: list[tuple[str, Any]]) -> list[tuple[str, str, int]]:
    """How each statement comes at messages, and over how many rows: (access, index, rows)."""
    found = []
    for statement, values in list(statements):
        async with store.read() as connection:
            raw = await connection.exec_driver_sql(f"EXPLAIN {statement}", values)
            found += [
                (str(row["type"]), str(row["key"]), int(row["rows"] or 0))
                for row in raw.mappings()
                if row["table"] == "messages"
            ]
    return found


@pytest.mark.parametrize(
    "choice",
    [
        MessageFilter(),
        MessageFilter(range="7d"),
        MessageFilter(state="waiting"),
        MessageFilter(state="dead", range="30d"),
        MessageFilter(verdict="failed:crashed"),
        MessageFilter(person="wxid_7", range="90d"),
        MessageFilter(group="7@chatroom", range="90d"),
        MessageFilter(text="开门"),
        MessageFilter(text="开门", group="7@chatroom", range="90d"),
        MessageFilter(id="77"),
        MessageFilter(state="dead", verdict="failed:crashed", range="90d"),
        MessageFilter(person="wxid_7", group="7@chatroom", range="90d"),
        MessageFilter(text="nothing", person="wxid_7", state="done", range="90d"),
    ],
    ids=str,
)
async def test_list_of_messages_reads_within_its_range(
    choice: MessageFilter, filled: Store, statements: list[tuple[str, Any]]
) -> None:
    """By key or index, and never all rows."""
    await read_messages(filled, choice, before=None, now=utc_now())
    await read_messages(filled, choice, before=id_at(utc_now().timestamp()), now=utc_now())
    found = await plans(filled, statements)

    assert found
    for access, key, rows in found:
        assert access not in ("ALL", "index"), found
        assert key != "None", found
        assert rows < ROWS * 0.75, found


#: What no index finds alone.
LOOSE = (
    MessageFilter(text="几点", range="7d"),
    MessageFilter(verdict="failed:crashed", range="30d"),
    MessageFilter(text="几点", state="dead", range="30d"),
    MessageFilter(person="wxid_7", state="done", range="90d"),
)


async def test_what_no_index_finds_is_looked_for_a_stretch_at_a_time_and_found_in_the_end(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each page tells how far back it has looked; together they leave nothing out, nor show it twice."""
    now = utc_now()
    whole = {choice: await all_pages(filled, choice, now) for choice in LOOSE}
    monkeypatch.setattr(messages, "MOST_SEEN", 15)
    monkeypatch.setattr(messages, "MOST_SEEN_OF_SOME", 5)
    for choice, pages in whole.items():
        stretches = await all_pages(filled, choice, now)
        assert [page.seen_to for page in pages] == [None] * len(pages)
        assert any(page.seen_to for page in stretches)
        assert ids_of(stretches) == ids_of(pages) != [], choice
        assert len(set(ids_of(pages))) == len(ids_of(pages))


async def all_pages(store: Store, choice: MessageFilter, now: datetime) -> list[MessageList]:
    """One page after the other, to the last."""
    pages = [await read_messages(store, choice, before=None, now=now)]
    while (before := pages[-1].before) is not None:
        pages.append(await read_messages(store, choice, before=before, now=now))
    return pages


def ids_of(pages: list[MessageList]) -> list[int]:
    """The messages in the order in which they are shown."""
    return [row.id for page in pages for row in page.rows]


async def test_a_search_stops_where_it_has_looked_at_enough(
    filled: Store, statements: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody reads all messages of a quarter by one click."""
    monkeypatch.setattr(messages, "MOST_SEEN", 500)
    choice = MessageFilter(text="nothing-like-it", range="90d")
    found = await read_messages(filled, choice, before=None, now=utc_now())
    looked = [one for one in await plans(filled, statements) if one[2] > 1]

    assert (found.rows, found.seen_to is not None) == ([], True)
    # The server's estimates are rough.
    assert max(rows for *_, rows in looked[1:]) < ROWS / 2


async def test_one_message_failures_and_figures_are_read_by_index(
    filled: Store, statements: list[tuple[str, Any]]
) -> None:
    """Also the neighbours in the group, of which only a few are read."""
    async with filled.read() as connection:
        one = await connection.scalar(text("SELECT MAX(id) FROM messages"))
    statements.clear()
    await read_one(filled, one)
    await DeadLetters(filled).newest(Choice(), before=None, limit=20)
    await DeadLetters(filled).counts(Choice(since=utc_now() - timedelta(days=1)))
    await read_figures(filled)
    found = await plans(filled, statements)

    assert found
    for access, key, _rows in found:
        assert access not in ("ALL", "index"), found
        assert key != "None", found


async def test_messages_over_time_are_counted_out_of_the_index_alone(
    filled: Store, statements: list[tuple[str, Any]]
) -> None:
    """However long the range; the newest answers are looked up for how long they took."""
    for span in SPANS.values():
        statements.clear()
        async with filled.read() as connection:
            await read_traffic(connection, span, now=utc_now())
        counted, sampled = await plans(filled, statements)
        assert (counted[0], counted[1]) == ("range", COUNTED_BY), span
        # By the state's index, backwards, or by the keys of the range: as the server sees it.
        assert sampled[0] in ("range", "ref"), span
