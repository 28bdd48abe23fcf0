"""Counts out of SQL: what waits, and that every callback has exactly one verdict."""

from datetime import UTC, datetime, timedelta

import pytest

from app.models.flow import Answer, IgnoreReason, Segment
from app.models.message import MessageState
from app.services.errors import StoreUnavailable
from app.services.figures import Figures, read_figures, read_ledger
from app.services.store import Store
from tests.fixtures.callbacks import make_ignored, make_question, make_turn
from tests.fixtures.stores import SwitchedStore, keep, make_outbox

NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def test_an_empty_database_has_nothing_to_tell(store: Store) -> None:
    """Zero, and no age."""
    figures = await read_figures(store)

    assert figures == Figures(waiting=0, oldest_since=None, dead=0, open_segments=0)
    assert figures.oldest_age(NOW) == 0.0
    assert (await read_ledger(store)).received == 0


async def test_what_waits_is_what_has_no_outcome(store: Store) -> None:
    """In the queue or in work; the age is that of the oldest; dead ones and open segments are counted."""
    outbox = make_outbox(store)
    await keep(store, make_ignored(), received_at=NOW - timedelta(hours=9))
    await keep(store, make_question(), received_at=NOW - timedelta(seconds=90))
    await keep(store, make_question(), state=MessageState.PROCESSING, received_at=NOW)
    buried = make_turn(await keep(store, make_question()))
    await outbox.bury(buried, reason="x", error="x", segments=[Segment(seq=0, content="抱歉")])
    answered = make_turn(await keep(store, make_question()))
    await outbox.plan(answered, [Segment(seq=0, content="答")], Answer(text="答"))

    figures = await read_figures(store)

    assert (figures.waiting, figures.dead, figures.open_segments) == (2, 1, 2)
    assert figures.oldest_age(NOW) == 90.0
    assert figures.oldest_age(NOW - timedelta(days=1)) == 0.0


async def test_received_is_the_sum_of_verdicts_duplicates_and_waiting(store: Store) -> None:
    """Nothing is counted twice, nothing is missing."""
    outbox = make_outbox(store)
    for _ in range(3):
        await keep(store, make_ignored(IgnoreReason.NOT_MENTIONED))
    await keep(store, make_question(), deliveries=4)
    await keep(store, make_question(), state=MessageState.REFUSED, verdict="user_queue_full")
    buried = make_turn(await keep(store, make_question()))
    await outbox.bury(buried, reason="dify_rejected", error="x", segments=[])
    answered = make_turn(await keep(store, make_question(), deliveries=2))
    await outbox.plan(answered, [Segment(seq=0, content="答")], Answer(text="答"))

    ledger = await read_ledger(store)

    assert ledger.verdicts == {
        "not_mentioned": 3,
        "user_queue_full": 1,
        "failed:dify_rejected": 1,
        "answered": 1,
    }
    assert (ledger.waiting, ledger.duplicates, ledger.received) == (1, 4, 11)
    assert ledger.received == sum(ledger.verdicts.values()) + ledger.duplicates + ledger.waiting


async def test_while_sql_is_away_there_are_no_figures(switch: SwitchedStore) -> None:
    """An error, not zeros."""
    switch.is_away = True

    with pytest.raises(StoreUnavailable):
        await read_figures(switch)
    with pytest.raises(StoreUnavailable):
        await read_ledger(switch)
