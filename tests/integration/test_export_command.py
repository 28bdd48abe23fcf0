"""``conversations export`` and ``messages export``, on both engines."""

import asyncio
import csv
import io
import json
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from app.models.contact import CONTACTS
from app.models.conversation import CONVERSATIONS
from app.models.message import MessageState
from app.services import export
from app.services.export import safe_cell
from app.services.stages import utc_now
from app.services.store import Store
from app.utils.ids import id_at
from tests.fixtures.callbacks import GROUP, USER, make_ignored, make_question
from tests.fixtures.commands import Run, runner
from tests.fixtures.stores import keep


@pytest.fixture
def conversations(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``conversations`` on a database."""
    return runner(monkeypatch, "conversations")


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``messages`` on a database."""
    return runner(monkeypatch, "messages")


def turn(number: int, question: str, **more: Any) -> dict[str, Any]:
    """A turn of so many hours ago."""
    moment = utc_now() - timedelta(hours=number)
    return {
        "message_id": str(id_at(moment.timestamp())),
        "at": moment.isoformat(),
        "question": question,
        "answer": "好",
        "outcome": "answered",
        **more,
    }


async def journal(store: Store, *turns: Any, user: str = USER, hour: str = "20260101_10") -> None:
    """One row of the journal."""
    row = {
        "from_user": user,
        "conversation_id": "c1",
        "group": GROUP,
        "hour": hour,
        "content": list(turns),
        "is_processed": True,
        "is_sent": True,
        "created_at": utc_now(),
        "updated_at": utc_now(),
    }
    async with store.write() as connection:
        await connection.execute(insert(CONVERSATIONS), [row])


async def name(store: Store, wc_id: str, nick_name: str) -> None:
    """A contact."""
    row = {"wc_id": wc_id, "nick_name": nick_name, "kind": "person", "seen_at": utc_now()}
    async with store.write() as connection:
        await connection.execute(insert(CONTACTS), [row])


def sheet(text: str) -> list[dict[str, str]]:
    """Rows of a CSV."""
    return list(csv.DictReader(io.StringIO(text)))


async def test_every_turn_is_a_line_with_names(
    store: Store, store_url: str, conversations: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over several pages; what somebody's hand wrote into a row harms nobody."""
    monkeypatch.setattr(export, "PAGE", 2)
    await name(store, USER, "小明")
    for number in range(5):
        await journal(store, turn(9 - number, f"问{number}"), hour=f"20260101_1{number}")
    await journal(store, "odd", {"question": "无号"}, turn(1, "=1+1"), hour="20260101_20")

    told = await asyncio.to_thread(conversations, store_url, "export")

    rows = sheet(told.stdout)
    assert [row["question"] for row in rows] == ["问0", "问1", "问2", "问3", "问4", "无号", "'=1+1"]
    assert {row["user_name"] for row in rows} == {"小明"}
    assert rows[0]["answer"] == "好"
    assert list(rows[0]) == list(export.TURN_FIELDS)


async def test_only_what_was_asked_for_is_exported(
    store: Store, store_url: str, conversations: Run
) -> None:
    """By time of receipt, person and group."""
    await journal(store, turn(30, "早"), turn(5, "中"), turn(1, "晚"))
    await journal(store, turn(2, "别人"), user="wxid_other")
    chosen = ("--user", USER, "--group", GROUP, "--since", "10h", "--until", "2h")

    told = await asyncio.to_thread(conversations, store_url, "export", "--format", "jsonl", *chosen)
    nobody = await asyncio.to_thread(conversations, store_url, "export", "--user", "wxid_nobody")

    lines = [json.loads(line) for line in told.stdout.splitlines()]
    assert [line["question"] for line in lines] == ["中"]
    assert sheet(nobody.stdout) == []


async def test_messages_have_their_verdict_and_exact_ids(
    store: Store, store_url: str, messages: Run, tmp_path: Path
) -> None:
    """Into a file that only its owner reads; one that is there is not overwritten."""
    first = await keep(store, make_question("在吗\u2028？"), state=MessageState.DONE)
    await keep(store, make_ignored())
    target = tmp_path / "out.jsonl"
    arguments = ("export", "--format", "jsonl", "--output", str(target))

    told = await asyncio.to_thread(messages, store_url, *arguments)
    again = await asyncio.to_thread(messages, store_url, *arguments)

    text = await asyncio.to_thread(target.read_text, "utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    assert (told.exit_code, again.exit_code) == (0, 1)
    assert "已经存在" in again.output
    assert (lines[0]["id"], lines[0]["text"]) == (str(first), "在吗\u2028？")
    assert [line["state"] for line in lines] == ["done", "ignored"]
    assert set(lines[0]) == set(export.MESSAGE_FIELDS)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


async def test_a_sheet_begins_with_the_mark_that_excel_wants(
    store: Store, store_url: str, messages: Run, tmp_path: Path
) -> None:
    """Else it reads Chinese as something else."""
    await keep(store, make_question("在吗"))
    target = tmp_path / "out.csv"

    await asyncio.to_thread(messages, store_url, "export", "-o", str(target))

    data = await asyncio.to_thread(target.read_bytes)
    assert data.startswith(b"\xef\xbb\xbf")
    assert sheet(data.decode("utf-8-sig"))[0]["text"] == "在吗"
    assert await asyncio.to_thread(lambda: list(tmp_path.glob("*.part"))) == []


@pytest.mark.parametrize("value", ["=1", "+1", "-1", "@a", "\t=1", "\r=1"])
def test_formulas_are_text(value: str) -> None:
    """People write what they like into groups."""
    assert safe_cell(value) == f"'{value}"
    assert safe_cell(f"a{value}") == f"a{value}"
