"""``python -m app.cli settings``: what is in force, changing it, and getting out of a change that does not fit."""

import asyncio
import json
from pathlib import Path

import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from app import cli
from app.services.audit import Audit, DeedChoice
from app.services.store import Store


class Runs:
    """Runs ``settings`` on a test's database."""

    def __init__(self, url: str, config: Path) -> None:
        self._variables = {"DATABASE_URL": url, "REPLY_MAX_LENGTH": "600"}
        self.config = config

    async def __call__(self, *arguments: str, given: str = "", command: str = "settings") -> Result:
        """Run it beside the test's own loop."""
        return await asyncio.to_thread(
            CliRunner().invoke,
            cli.app,
            [command, *arguments],
            input=given,
            env=self._variables,
        )

    async def row(self, name: str) -> dict[str, str]:
        """One setting as it is listed."""
        listed = await self("--json")
        assert listed.exit_code == 0, listed.output
        [found] = [one for one in json.loads(listed.stdout) if one["name"] == name]
        return dict(found)


@pytest.fixture
def run(store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """The command, with a config.json that the test writes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BRIDGE_ENV_FILE", "")
    monkeypatch.setenv("BRIDGE_CONFIG_FILE", str(tmp_path / "config.json"))
    return Runs(store_url, tmp_path / "config.json")


async def test_a_setting_is_changed_listed_with_its_source_and_given_back(
    store: Store, run: Runs
) -> None:
    """The audit tells both; a live one says so."""
    run.config.write_text('{"reply": {"citations": true}}', "utf-8")
    live = await run("set", "reply.citations", "false")
    changed = await run.row("reply.citations")
    told = await run("--changed")
    back = await run("unset", "reply.citations")
    again = await run("unset", "reply.citations")
    after = await run.row("reply.citations")
    restart = await run("set", "log.level", "debug")
    deeds = await Audit(store).newest(DeedChoice(operator="cli"), before=None, limit=9)

    assert (live.exit_code, "几秒内生效" in live.output) == (0, True), live.output
    assert (changed["value"], changed["source"]) == ("false", "console")
    assert told.exit_code == 0
    assert (back.exit_code, again.exit_code, "没有改过" in again.output) == (0, 1, True)
    assert (after["value"], after["source"]) == ("true", "config.json")
    assert "重启后生效" in restart.output
    assert [(one.action, one.subject, one.before, one.after) for one in deeds] == [
        ("setting.change", "log.level", "INFO(默认值)", "DEBUG(管理后台)"),
        ("setting.reset", "reply.citations", "false(管理后台)", "true(config.json)"),
        ("setting.change", "reply.citations", "true(config.json)", "false(管理后台)"),
    ]


async def test_a_secret_comes_from_the_standard_input_and_is_shown_nowhere(
    store: Store, run: Runs
) -> None:
    """As an argument it would stand in the shell's history."""
    argument = await run("set", "dify.api_key", "app-very-secret-key")
    done = await run("set", "dify.api_key", "--stdin", given="app-very-secret-key\n")
    listed = await run("--json")
    deeds = await Audit(store).newest(DeedChoice(), before=None, limit=9)
    async with store.read() as connection:
        stored = (await connection.execute(text("SELECT value FROM setting_overrides"))).all()

    assert (argument.exit_code, "--stdin" in argument.output) == (2, True)
    assert done.exit_code == 0, done.output
    assert "app-very-secret-key" in str(stored)
    assert "app-very-secret-key" not in argument.output + done.output + listed.output + repr(deeds)


async def test_what_cannot_be_changed_is_refused_with_the_reason(run: Runs) -> None:
    """A wrong value, a fixed one, one that there is not, and none at all."""
    run.config.write_text("{}", "utf-8")
    wrong = await run("set", "reply.citations", "vielleicht")
    fixed = await run("set", "reply.max_length", "700")
    unknown = await run("set", "reply.citation", "true")
    nothing = await run("set", "reply.citations")

    assert (wrong.exit_code, "true 或 false" in wrong.output) == (1, True)
    assert (fixed.exit_code, "环境变量里写着" in fixed.output) == (1, True)
    assert (unknown.exit_code, "reply.citations" in unknown.output) == (1, True)
    assert nothing.exit_code == 2


async def test_changes_that_keep_the_bridge_from_starting_are_taken_away(
    run: Runs,
) -> None:
    """Every command says how; the way out works although the settings are wrong."""
    run.config.write_text('{"groups": {"prefixes": ["/a"], "keywords": ["x"]}}', "utf-8")
    await run("set", "groups.trigger", "prefix")
    run.config.write_text("{}", "utf-8")
    stuck = await run("--json")
    doctor = await run("--json", command="doctor")
    freed = await run("unset", "groups.trigger")
    row = await run.row("groups.trigger")

    assert (stuck.exit_code, "settings unset groups.trigger" in stuck.output) == (2, True)
    assert "settings unset groups.trigger" in doctor.output
    assert freed.exit_code == 0, freed.output
    assert row["source"] == "default"
