"""``python -m app.cli usage``: what answers cost and how long they took, on both engines."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from app.models.message import MESSAGES, MessageState
from app.services.stages import utc_now
from app.services.store import Store
from tests.fixtures.callbacks import GROUP, make_ignored, make_question
from tests.fixtures.commands import Run, runner
from tests.fixtures.stores import keep


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``usage`` on a database."""
    return runner(monkeypatch, "usage")


async def answer(store: Store, app: str, seconds: float, **columns: Any) -> None:
    """A message that was answered after so many seconds, its first text after half of them."""
    message_id = await keep(store, make_question(), state=MessageState.DONE)
    now = utc_now()
    row = {
        "dify_app": app,
        "asked_at": now,
        "first_text_at": now + timedelta(seconds=seconds / 2),
        "answered_at": now + timedelta(seconds=seconds),
        **columns,
    }
    async with store.write() as connection:
        await connection.execute(update(MESSAGES).where(MESSAGES.c.id == message_id).values(row))


async def test_costs_are_summed_up_per_app_exactly(store: Store, store_url: str, run: Run) -> None:
    """Prices as decimals, per currency; whatever was not answered costs nothing."""
    await answer(
        store,
        "default",
        2.0,
        prompt_tokens=10,
        completion_tokens=5,
        total_tokens=15,
        total_price="0.1",
        currency="USD",
    )
    await answer(store, "default", 4.0, total_tokens=7, total_price="0.2", currency="USD")
    await answer(store, "support", 1.0, total_price="odd", currency="RMB")
    await keep(store, make_ignored())
    await keep(store, make_question())

    told = await asyncio.to_thread(run, store_url, "--json")
    shown = json.loads(told.stdout)["usage"]

    assert shown[0] == {
        "app": "default",
        "answers": 2,
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 22,
        "prices": {"USD": "0.3"},
        "answer_seconds": {"p50": 2.0, "p95": 4.0},
        "first_text_seconds": {"p50": 1.0, "p95": 2.0},
    }
    assert (shown[1]["app"], shown[1]["answers"], shown[1]["prices"]) == ("support", 1, {})


async def test_the_table_may_be_by_group_and_since_a_moment(
    store: Store, store_url: str, run: Run
) -> None:
    """What was received before is left out."""
    await answer(store, "default", 2.0, total_tokens=7)

    by_group = await asyncio.to_thread(run, store_url, "--by", "group")
    later = await asyncio.to_thread(run, store_url, "--since", "2100-01-01", "--json")
    wrong = await asyncio.to_thread(run, store_url, "--since", "yesterday")

    assert GROUP in by_group.output
    assert "2 / 2 秒" in by_group.output
    assert json.loads(later.stdout)["usage"] == []
    assert wrong.exit_code == 2
    assert "30m、2h、3d" in wrong.output
