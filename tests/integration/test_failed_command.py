"""``python -m app.cli failed``: what it prints, what it asks, what it refuses, on both engines."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from alembic import command
from sqlalchemy import update
from typer.testing import CliRunner, Result

from app import cli
from app.models.flow import MessageId
from app.models.message import Message
from app.models.segment import SegmentState
from app.services.store import Store
from app.utils.database_init import alembic_config
from tests.fixtures.callbacks import GROUP, USER, make_question
from tests.fixtures.letters import SENTENCE, answer, bury, settle
from tests.fixtures.stores import ON_SQLITE, keep, row_of, rows_of

Run = Callable[..., Awaitable[Result]]
HOSTILE = "一\x1b[31m红\x9b2J\u202e反\n二"


@pytest.fixture
def run(store_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``failed …`` on the test's database, outside the test's loop."""
    monkeypatch.setenv("BRIDGE_ENV_FILE", "")
    monkeypatch.setenv("BRIDGE_CONFIG_FILE", "")

    async def invoke(*arguments: str, input: str | None = None) -> Result:  # noqa: A002 - click's word
        return await asyncio.to_thread(
            CliRunner().invoke,
            cli.app,
            ["failed", *arguments],
            env={"DATABASE_URL": store_url},
            input=input,
        )

    return invoke


def told(done: Result) -> Any:
    """What a program reads."""
    return json.loads(done.stdout)


async def test_the_list_names_each_letter_and_counts_the_causes(store: Store, run: Run) -> None:
    """In words and as JSON; nothing of what a person wrote can steer the terminal."""
    ids = [
        await bury(store),
        await answer(store, SegmentState.SENT, SegmentState.FAILED),
        await bury(store, "crashed\x1b[1m", from_user="wxid\x9b1m"),
    ]

    words, as_json = await run("list"), told(await run("list", "--json"))
    part = told(await run("list", "--limit", "2", "--json"))
    rest = await run("list", "--before", part["before"])
    none = await run("list", "--user", "nobody")

    lines = words.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == [str(id_) for id_ in reversed(ids)]
    assert f"{USER}" in lines[2]
    assert lines[2].split()[-5:] == ["partly_sent", "0", "0", "1/2", "0"]
    assert lines[-1] == "共 3 条"
    assert "\x1b" not in words.stdout + json.dumps(as_json, ensure_ascii=False)
    assert "\x9b" not in words.stdout
    assert (as_json["total"], as_json["before"]) == (3, None)
    assert {one["cause"]: one["count"] for one in as_json["causes"]}["partly_sent"] == 1
    assert as_json["letters"][2] == {
        "id": str(ids[0]),
        "received_at": as_json["letters"][2]["received_at"],
        "user": USER,
        "group": GROUP,
        "cause": "dify_rejected",
        "error": "400",
        "attempts": 0,
        "crashes": 0,
        "segments_sent": 0,
        "segments": 0,
        "replays": 0,
    }
    assert (part["before"], part["total"]) == (str(ids[1]), 3)
    assert rest.stdout.splitlines()[1].split()[0] == str(ids[0])
    assert none.stdout == "没有符合条件的死信。\n"


async def test_one_message_is_shown_with_all_that_tells_why(store: Store, run: Run) -> None:
    """Its text, too: whoever runs this has the database; but nothing that steers the terminal."""
    message_id = await bury(store)
    await settle(store, message_id, SegmentState.SENT)
    async with store.write() as connection:
        await connection.execute(
            update(Message).values(question=HOSTILE, error="拒绝\x1b]0;x\x07", dify_task_id="t-1")
        )

    words = await run("show", str(message_id))
    raw = await run("show", str(message_id), "--json")
    as_json = told(raw)

    for expected in (
        str(message_id),
        "failed:dify_rejected",
        "拒绝\\x1b]0;x\\x07",
        "任务 t-1",
        "    一\\x1b[31m红\\x9b2J\\u202e反\n    二\n",
        "失败后的那句话  sent,调用 1 次",
        SENTENCE,
        "重放    可以:重新提问 Dify",
    ):
        assert expected in words.stdout
    for output in (words.stdout, raw.stdout):
        assert not {"\x1b", "\x9b", "\u202e", "\x07"} & set(output)
    assert (as_json["question"], as_json["error"]) == (HOSTILE, "拒绝\x1b]0;x\x07")
    assert as_json["segments"][0]["kind"] == "notice"
    assert as_json["replay"] == {"way": "ask", "segments": [], "refusal": None}


@ON_SQLITE
@pytest.mark.parametrize("states", ["sent failed", "sent unknown", "sent"])
async def test_what_replaying_would_do_is_told(store: Store, run: Run, states: str) -> None:
    """Which segments, or why nothing."""
    message_id = await answer(store, *map(SegmentState, states.split()))
    expected = {
        "sent failed": "可以:只补发没有发出的段,不再提问 Dify(第 1 段)",
        "sent unknown": "不能:只有不确定的段(可能已在群里);要重发请加 --resend-unknown",
        "sent": "不能:不是死信:在等待、在发送、已有结果,或刚被重放",
    }

    shown = await run("show", str(message_id))

    assert f"重放    {expected[states]}\n" in shown.stdout


@ON_SQLITE
async def test_messages_are_replayed_by_id_and_each_refusal_is_told(store: Store, run: Run) -> None:
    """Unknown, not dead, its text removed: 1, and the others go on."""
    dead, gone = await bury(store), await bury(store)
    waiting = await keep(store, make_question())
    async with store.write() as connection:
        await connection.execute(
            update(Message).where(Message.id == gone).values(question=None, text=None)
        )
    typed = [str(one) for one in (dead, 7, gone, waiting)]

    done = await run("replay", *typed)
    again = await run("replay", str(dead), "--json")

    assert (done.exit_code, again.exit_code) == (1, 1), (done.output, again.output)
    assert "已重放 1 条:1 条重新提问 Dify,0 条只继续发送(1 个用户)。" in done.stdout
    assert "没有重放 3 条" in done.stdout
    assert "  7:没有这条消息\n" in done.stdout
    assert f"  {gone}:原文已按保留期限清除\n" in done.stdout
    assert f"  {waiting}:不是死信" in done.stdout
    assert told(again)["refused"] == [{"id": str(dead), "reason": "not_dead"}]
    assert [row.state for row in await rows_of(store, Message)] == ["received", "dead", "received"]


@ON_SQLITE
async def test_a_dry_run_tells_what_would_become_and_changes_nothing(
    store: Store, run: Run
) -> None:
    """How many, of how many users, how many ask Dify."""
    await bury(store)
    await bury(store, from_user="wxid_other")
    await answer(store, SegmentState.SENT, SegmentState.FAILED)
    await answer(store, SegmentState.FAILED)
    await answer(store, SegmentState.UNKNOWN)
    before = await rows_of(store, Message)

    words = await run("replay", "--all", "--dry-run")
    as_json = told(await run("replay", "--all", "--dry-run", "--ask-again", "--json"))
    one_cause = told(await run("replay", "--cause", "failed:dify_rejected", "--dry-run", "--json"))

    assert words.exit_code == 0
    assert "试算,没有改动:会重放 4 条:2 条重新提问 Dify,2 条只继续发送(2 个用户)。" in words.stdout
    assert "不会重放 1 条:1 条只有不确定的段" in words.stdout
    counted = {name: as_json[name] for name in ("replayed", "users", "asks", "sends", "dry_run")}
    assert counted == {"replayed": 3, "users": 2, "asks": 3, "sends": 0, "dry_run": True}
    reasons = sorted(one["reason"] for one in as_json["refused"])
    assert reasons == ["segments_out", "segments_out"]
    assert (one_cause["replayed"], one_cause["asks"]) == (2, 2)
    assert await rows_of(store, Message) == before


@ON_SQLITE
async def test_more_than_one_is_asked_about(
    store: Store, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody can be asked it is wrong use; ``--yes`` asks nobody; one alone needs no question."""
    ids = [await bury(store) for _ in range(3)]

    async def states() -> list[str]:
        return [row.state for row in await rows_of(store, Message)]

    nobody = await run("replay", "--since", "1h")
    assert (nobody.exit_code, await states()) == (2, ["dead"] * 3)
    assert "请加 --yes" in nobody.stderr

    monkeypatch.setattr("app.commands.replay.is_interactive", lambda: True)
    refused = await run("replay", "--all", "--json", input="n\n")
    assert (refused.exit_code, await states()) == (1, ["dead"] * 3)
    assert "将重放 3 条" in refused.stderr
    assert "{" not in refused.stdout

    one = await run("replay", str(ids[0]))
    assert (one.exit_code, await states()) == (0, ["received", "dead", "dead"])
    agreed = await run("replay", "--all", "--json", input="y\n")
    assert (agreed.exit_code, await states()) == (0, ["received"] * 3)
    # In front of it the runner shows what was typed.
    assert json.loads(agreed.stdout[agreed.stdout.index("{") :])["ids"] == [
        str(ids[1]),
        str(ids[2]),
    ]


async def test_yes_replays_in_the_order_of_receipt_and_tells_of_its_progress(
    store: Store, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both kinds; a second time there is nothing left."""
    monkeypatch.setattr("app.commands.replay.TELL_EVERY", 2)
    ids = [await bury(store) for _ in range(2)] + [await answer(store, SegmentState.FAILED)]

    done = await run("replay", "--all", "--yes")
    again = await run("replay", "--all", "--yes")

    assert done.exit_code == again.exit_code == 0
    assert "已重放 2 / 3" in done.stderr
    assert "已重放 3 条:2 条重新提问 Dify,1 条只继续发送(1 个用户)。" in done.stdout
    assert again.stdout == "没有符合条件的死信。\n"
    assert [(await row_of(store, Message, id_)).replays for id_ in ids] == [1, 1, 1]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--all", "--since", "2h"],
        ["123", "--all"],
        ["123", "--user", "x"],
        ["--user", ""],
        ["--since", "soon"],
        ["--", "-5"],
        ["9223372036854775808"],
        ["١"],
        ["--no-such"],
    ],
)
def test_wrong_use_ends_with_2_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """Exactly one way of choosing, and ids that may be ids; the database does not even exist."""
    monkeypatch.setenv("BRIDGE_ENV_FILE", "")
    monkeypatch.setenv("BRIDGE_CONFIG_FILE", "")

    done = CliRunner().invoke(cli.app, ["failed", "replay", *arguments])

    assert done.exit_code == 2
    assert "Traceback" not in done.output
    assert "不存在" not in done.output


@ON_SQLITE
async def test_an_id_that_is_not_there_is_told(run: Run) -> None:
    """1, in one sentence."""
    done = await run("show", str(MessageId(2**63 - 1)))

    assert (done.exit_code, done.stderr) == (1, "没有编号为 9223372036854775807 的消息。\n")


@ON_SQLITE  # the other database is shared by all tests
async def test_a_database_that_lacks_migrations_is_told_with_the_command(
    store: Store, store_url: str, run: Run
) -> None:
    """The program was updated, the database not yet."""
    await bury(store)
    await asyncio.to_thread(command.downgrade, alembic_config(store_url), "0001")

    done = await run("list")

    assert done.exit_code == 1
    assert "数据库缺少迁移 0002" in done.stderr
