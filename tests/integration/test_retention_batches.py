"""Removal of many rows: in small batches, by index, ended at any batch, and in nobody's way."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, func, insert, select, text, update
from typing_extensions import override

from app.models.message import MESSAGES
from app.models.segment import SEGMENTS, SegmentState
from app.services.inbox_rows import make_row
from app.services.inbox_table import insert_rows
from app.services.queue.leases import Leases
from app.services.stages import utc_now
from app.services.store import Store
from app.services.twins import SharedIds
from app.utils.clock import SystemClock
from app.utils.embedded_redis import EmbeddedRedis
from app.utils.ids import IdMaker
from app.utils.redis_client import close_redis
from app.workers import retention as retention_module
from app.workers.retention import Ages, Retention
from app.workers.retention_rules import make_rules
from tests.fixtures.callbacks import make_question

AGES = Ages(text=timedelta(days=30), raw=timedelta(days=7), dedupe=timedelta(days=7))
#: The batches of these tests: a fifth of the real ones, on machines that are busy with other things.
LEAST_ROWS, MOST_ROWS = 4, 40
#: Both ages: raw and text go, and the rows; no batch is full at the end.
ROWS = 2 * MOST_ROWS + 10
#: Of a change, beside the ids: the states they must be in, and the values to set.
PARAMETERS = 12

MakeKeeper = Callable[..., Retention]


class HandClock(SystemClock):
    """Each look at it is so many seconds later than the last one."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._now = 0.0

    @override
    def monotonic(self) -> float:
        self._now += self._seconds
        return self._now


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention_module, "LEAST_ROWS", LEAST_ROWS)
    monkeypatch.setattr(retention_module, "MOST_ROWS", MOST_ROWS)


@pytest.fixture
async def leases() -> AsyncIterator[Leases]:
    """On the Redis inside the process."""
    redis = EmbeddedRedis().client()
    yield Leases(redis, holder="test", clock=SystemClock())
    await close_redis(redis)


@pytest.fixture
def make_keeper(store: Store, leases: Leases) -> MakeKeeper:
    """The removal as a new process has it."""

    def make(clock: SystemClock | None = None) -> Retention:
        return Retention(store=store, leases=leases, ages=AGES, clock=clock or SystemClock())

    return make


async def fill(
    store: Store, rows: int, *, days: float, state: str = "done", **columns: Any
) -> None:
    """Messages of one day that long ago, each with a segment."""
    moment = utc_now() - timedelta(days=days)
    ids = IdMaker(lambda: int(moment.timestamp() * 1e9))
    made = [
        make_row(
            make_question("几点下班"),
            b'{"raw": true}',
            message_id=ids.next(),  # type: ignore[arg-type]
            received_at=moment,
            keep_ignored_text=False,
        )
        for _ in range(rows)
    ]
    segments = [
        {
            "message_id": row.message_id,
            "seq": 1,
            "bot_wc_id": row.bot_wc_id,
            "group_id": "g",
            "kind": "text",
            "content": "六点",
            "state": SegmentState.SENT,
            "mention": "",
            "text_digest": "",
            "sender": "",
            "tries": 1,
            "error": "",
            "msg_id": "",
            "new_msg_id": "",
            "created_time": 0,
            "planned_at": moment,
        }
        for row in made
    ]
    async with store.write() as connection:
        await insert_rows(connection, made, SharedIds())
        mine = MESSAGES.c.id >= made[0].message_id, MESSAGES.c.id <= made[-1].message_id
        await connection.execute(update(MESSAGES).where(*mine).values(state=state, **columns))
        await connection.execute(insert(SEGMENTS), segments)


async def no_rest(_seconds: float) -> bool:
    """As if nobody else used the database."""
    return True


async def count(store: Store, *conditions: Any) -> int:
    """Messages for which these hold."""
    async with store.read() as connection:
        return (
            await connection.scalar(select(func.count()).select_from(MESSAGES).where(*conditions))
            or 0
        )


class Statements:
    """What the store is given, with how many ids each names."""

    def __init__(self, store: Store) -> None:
        self.texts: list[tuple[str, Any]] = []
        for engine in {store._reader.sync_engine, store._writer.sync_engine}:
            event.listen(engine, "before_cursor_execute", self._note)

    def _note(self, _connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        self.texts.append((statement, values))

    @property
    def changes(self) -> list[int]:
        """Parameters of each statement that removes."""
        return [
            len(values)
            for statement, values in self.texts
            if statement.startswith(("UPDATE", "DELETE"))
        ]


async def test_many_rows_go_in_batches_that_grow_to_their_bound(
    store: Store, make_keeper: MakeKeeper
) -> None:
    """Each is a transaction of its own; young rows stay as they are."""
    await fill(store, ROWS, days=40)
    await fill(store, ROWS, days=10)
    await fill(store, 5, days=1)
    statements = Statements(store)

    await make_keeper(HandClock(0)).remove_old(no_rest)

    assert await count(store) == ROWS + 5
    assert await count(store, MESSAGES.c.raw.is_not(None)) == 5
    assert await count(store, MESSAGES.c.text.is_not(None)) == ROWS + 5
    async with store.read() as connection:
        assert await connection.scalar(select(func.count()).select_from(SEGMENTS)) == ROWS + 5
    assert MOST_ROWS < max(statements.changes) <= MOST_ROWS + PARAMETERS
    assert len(statements.changes) >= 5 * 3


async def test_every_statement_finds_its_rows_by_index(
    store: Store, make_keeper: MakeKeeper
) -> None:
    """So a look costs the same, however much is kept."""
    for day in range(9, 36, 3):
        await fill(store, 30, days=day)
    async with store.write() as connection:
        if not store.is_sqlite:
            await connection.execute(text("ANALYZE TABLE messages, segments, conversations"))
    statements = Statements(store)
    await make_keeper().remove_old(no_rest)
    seen = dict(statements.texts)

    scans = []
    explain = "EXPLAIN QUERY PLAN " if store.is_sqlite else "EXPLAIN "
    async with store.read() as connection:
        for statement, values in seen.items():
            if not re.match("SELECT|UPDATE|DELETE", statement):
                continue
            plan = (await connection.exec_driver_sql(explain + statement, values)).mappings().all()
            scans += [(statement, dict(row)) for row in plan if is_scan(dict(row))]

    assert len(seen) > 8
    assert scans == []


def is_scan(row: dict[str, Any]) -> bool:
    """A step of a plan that reads a whole table or index; SQLite's, then MySQL's."""
    if "detail" in row:
        return str(row["detail"]).startswith("SCAN")
    return row.get("type") in ("ALL", "index")


async def test_removal_ends_at_the_next_batch_when_the_process_stops(
    store: Store, make_keeper: MakeKeeper, leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop does not wait for a month of rows; another process goes on at once."""
    monkeypatch.setattr(retention_module, "REST_SECONDS", 0.01)
    await fill(store, ROWS, days=40)
    stop = asyncio.Event()
    statements = Statements(store)
    running = asyncio.create_task(make_keeper().run(stop))
    async with asyncio.timeout(30):
        while not statements.changes:
            await asyncio.sleep(0)
        stop.set()
        await running

    assert await count(store, MESSAGES.c.raw.is_not(None)) >= ROWS - 2 * MOST_ROWS
    assert await leases.task("retention", seconds=10).hold()


async def test_removal_ends_when_another_process_has_the_lease(
    store: Store, make_keeper: MakeKeeper
) -> None:
    """Two never remove at once; whoever was interrupted goes on where it was."""
    await fill(store, ROWS, days=40)
    keeper, rests = make_keeper(), 0

    async def two_rests(_seconds: float) -> bool:
        nonlocal rests
        rests += 1
        return rests < 5

    first = await keeper.remove_old(two_rests)
    left = await count(store, MESSAGES.c.raw.is_not(None))
    await keeper.remove_old(no_rest)

    assert 0 < first < ROWS
    assert left == ROWS - first
    assert await count(store) == 0


async def test_slow_database_is_given_small_batches_and_long_rests(
    store: Store, make_keeper: MakeKeeper
) -> None:
    """Be it busy, or be the rows big: a batch is never long, and twice as long it is left alone."""
    await fill(store, MOST_ROWS, days=40)
    rests: list[float] = []

    async def rest(seconds: float) -> bool:
        rests.append(seconds)
        return True

    statements = Statements(store)
    await make_keeper(HandClock(3)).remove_old(rest)

    assert await count(store) == 0
    assert max(statements.changes) <= LEAST_ROWS + PARAMETERS
    # Twice the time of a look, and of a change, within which the clock is looked at twice more.
    assert set(rests) == {6.0, 18.0}


async def test_row_that_ended_late_goes_with_the_next_days_walk(
    store: Store, make_keeper: MakeKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had no outcome when it was passed; what lies before it is not read again."""
    await fill(store, 3, days=45)
    await fill(store, 1, days=40, state="answered")
    keeper = make_keeper()
    await keeper.remove_old(no_rest)
    kept = await count(store)
    async with store.write() as connection:
        await connection.execute(update(MESSAGES).values(state="done"))
    await keeper.remove_old(no_rest)
    same_day = await count(store)
    monkeypatch.setattr(keeper, "_anew_at", 0.0)
    await keeper.remove_old(no_rest)

    assert (kept, same_day, await count(store)) == (1, 1, 0)


@pytest.mark.parametrize("rule", make_rules(AGES), ids=lambda rule: rule.name)
async def test_batch_that_is_not_committed_yet_is_in_nobodys_way(
    store_factory: Callable[..., Store], rule: Any
) -> None:
    """New callbacks, second deliveries and answers go on beside it (SQLite has one writer: no case)."""
    store = store_factory()
    if store.is_sqlite:
        return
    await fill(store, MOST_ROWS, days=40)
    await fill(store, MOST_ROWS, days=0)
    ids, other = IdMaker(), store_factory(timeout=4)
    row = make_row(
        make_question("新"),
        b"{}",
        message_id=ids.next(),  # type: ignore[arg-type]
        received_at=utc_now(),
        keep_ignored_text=False,
    )
    async with store.read() as connection:
        page = list(await connection.scalars(rule.page(0, ids.next(), MOST_ROWS)))
    old = page[:-1] or page
    async with store.write() as removing:
        await removing.execute(rule.change(old))
        async with other.write() as connection:
            assert await insert_rows(connection, [row], SharedIds()) == {
                row.message_id: row.message_id
            }
        async with other.write() as connection:
            again = make_row(
                make_question("新", new_msg_id=row.columns["new_msg_id"]),
                b"{}",
                message_id=ids.next(),  # type: ignore[arg-type]
                received_at=utc_now(),
                keep_ignored_text=False,
            )
            assert await insert_rows(connection, [again], SharedIds()) == {
                again.message_id: row.message_id
            }
        async with other.write() as connection:
            young = MESSAGES.c.id > ids.next() - (1 << 40)
            await connection.execute(update(MESSAGES).where(young).values(fence=7))

    assert await count(store, MESSAGES.c.fence == 7) == MOST_ROWS + 1
