"""``pause`` and ``resume``: beside a bridge that runs or stands still, and ``doctor`` says so."""

import asyncio
import json
from collections.abc import Callable

import pytest
from typer.testing import CliRunner, Result

from app import cli
from tests.fixtures.inside import INSIDE_EMBEDDED, StartInside

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs any command with no settings but the database's."""
    monkeypatch.setenv("BRIDGE_ENV_FILE", "")
    monkeypatch.setenv("BRIDGE_CONFIG_FILE", "")

    def invoke(url: str, *arguments: str) -> Result:
        return CliRunner().invoke(cli.app, [*arguments], env={"DATABASE_URL": url})

    return invoke


async def test_what_is_paused_is_written_once_and_told(inside: StartInside, run: Run) -> None:
    """Each change is in the audit; what changes nothing says so."""
    async with inside(works=False) as bridge:
        url = bridge.runtime.settings.database_url.get_secret_value()

        def told(*arguments: str) -> object:
            return json.loads(run(url, *arguments, "--json").stdout)

        answers = [
            await asyncio.to_thread(told, *arguments)
            for arguments in (
                ("pause", "taking"),
                ("pause", "taking"),
                ("pause", "sending"),
                ("pause", "user", "wxid_ming"),
                ("resume", "taking"),
                ("resume", "user", "wxid_hong"),
            )
        ]
        await bridge.runtime.pauses.load()
        paused = bridge.runtime.pauses.now()
        words = await asyncio.to_thread(run, url, "pause", "sending")
        odd = await asyncio.to_thread(run, url, "pause", "user", " ")
        deeds = await bridge.rows("SELECT action, subject, operator FROM audit_log ORDER BY id")

    assert answers == [
        {"what": "taking", "paused": True, "changed": True},
        {"what": "taking", "paused": True, "changed": False},
        {"what": "sending", "paused": True, "changed": True},
        {"what": "user", "paused": True, "changed": True, "user": "wxid_ming"},
        {"what": "taking", "paused": False, "changed": True},
        {"what": "user", "paused": False, "changed": False, "user": "wxid_hong"},
    ]
    assert (paused.is_taking, paused.is_sending) == (False, True)
    assert paused.holds("wxid_ming") == "pause:user:wxid_ming"  # type: ignore[arg-type]
    assert "本来就暂停着" in words.stdout
    assert odd.exit_code == 2
    assert [tuple(row.values()) for row in deeds] == [
        ("pause.begin", "taking", "cli"),
        ("pause.begin", "sending", "cli"),
        ("queue.pause", "wxid_ming", "cli"),
        ("pause.end", "taking", "cli"),
    ]


@INSIDE_EMBEDDED
async def test_doctor_names_the_pause_and_how_to_end_it(inside: StartInside, run: Run) -> None:
    """As a warning: nothing is broken."""
    async with inside(works=False) as bridge:
        url = bridge.runtime.settings.database_url.get_secret_value()
        await asyncio.to_thread(run, url, "pause", "sending")
        result = await asyncio.to_thread(run, url, "doctor", "--json")

    found = [one for one in json.loads(result.stdout)["checks"] if one["name"] == "暂停"]
    assert [(one["outcome"], one["code"]) for one in found] == [("warning", "paused_sending")]
    assert "python -m app.cli resume sending" in found[0]["text"]
