"""``python -m app.cli operators``: adding, listing, new passwords, disabling."""

import asyncio
import json
import re

import pytest

from app.models.roles import OperatorRole
from app.services.audit import Audit, Deed, DeedChoice
from app.services.operators import Operators
from app.services.store import Store
from app.utils.passwords import Passwords
from tests.fixtures.commands import Run, runner


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``operators``."""
    return runner(monkeypatch, "operators")


async def test_somebody_is_added_listed_and_disabled(
    store: Store, store_url: str, run: Run
) -> None:
    """The random password is shown once, holds, and is nowhere else; the audit tells."""
    added = await asyncio.to_thread(run, store_url, "add", "小王", "--role", "operator")
    again = await asyncio.to_thread(run, store_url, "add", "小王")
    disabled = await asyncio.to_thread(run, store_url, "disable", "小王")
    listed = await asyncio.to_thread(run, store_url, "list", "--json")
    told = await asyncio.to_thread(run, store_url, "list")
    enabled = await asyncio.to_thread(run, store_url, "enable", "小王")
    [one] = await Operators(store).all()
    deeds = await Audit(store).newest(DeedChoice(operator="cli"), before=None, limit=9)

    password = re.findall(r":(\S+)$", added.output.strip())[0]
    assert added.exit_code == disabled.exit_code == enabled.exit_code == 0
    assert await Passwords().check(one.password_hash, password)
    assert (again.exit_code, "已经有名为 小王" in again.output) == (1, True)
    [shown] = json.loads(listed.stdout)
    assert (shown["name"], shown["role"], shown["is_disabled"]) == ("小王", "operator", True)
    assert "停用" in told.output
    assert not one.is_disabled
    assert [deed.action for deed in deeds] == [
        "operator.enable",
        "operator.disable",
        "operator.add",
    ]
    assert password not in repr(deeds)


async def test_a_new_password_is_random_or_read_from_the_input(
    store: Store, store_url: str, run: Run
) -> None:
    """A name that nobody has, and a password that is too short, are refused."""
    await Operators(store).add(
        "admin",
        "x",
        OperatorRole.ADMIN,
        by=Deed(operator="test", action="operator.add", subject="admin"),
    )
    random = await asyncio.to_thread(run, store_url, "password", "admin")
    missing = await asyncio.to_thread(run, store_url, "password", "nobody")
    empty = await asyncio.to_thread(run, store_url, "password", "admin", "--stdin")
    [one] = await Operators(store).all()

    password = re.findall(r":(\S+)$", random.output.strip())[0]
    assert await Passwords().check(one.password_hash, password)
    assert not await Passwords().check(None, password)
    assert (missing.exit_code, "没有名为 nobody" in missing.output) == (1, True)
    assert (empty.exit_code, "8 到 200" in empty.output) == (2, True)
