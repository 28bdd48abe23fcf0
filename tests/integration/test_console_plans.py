"""No page of the console reads all messages: MariaDB's own plan of each statement says so."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, insert, text

from app.console.reading.messages import MessageFilter, read_messages
from app.console.reading.one_message import read_one
from app.models.account import Account
from app.models.message import MESSAGES
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
