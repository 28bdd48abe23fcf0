"""``ledger``: what became of every callback that is kept. Reads only."""

from typing import TYPE_CHECKING, Any

import typer

from app.commands.database import with_database
from app.commands.output import AsJson, print_json, print_table

if TYPE_CHECKING:
    from app.services.figures import Ledger


def ledger(*, as_json: AsJson = False) -> None:
    """核对账目:收到的回调 = 各结论之和 + 重复投递 + 等待中(读整个 messages 表,只读)。"""
    from app.services.figures import read_ledger  # noqa: PLC0415 - late

    found = with_database(read_ledger)
    if as_json:
        print_json(shown_ledger(found))
        return
    typer.echo(
        f"收到 {found.received} = 有结论 {sum(found.verdicts.values())}"
        f" + 重复 {found.duplicates} + 等待 {found.waiting}"
    )
    by_count = sorted(found.verdicts.items(), key=lambda one: (-one[1], one[0]))
    print_table(("结论", "数量"), [(verdict, str(count)) for verdict, count in by_count])


def shown_ledger(found: "Ledger") -> dict[str, Any]:
    """The ledger as it is printed for programs."""
    return {
        "received": found.received,
        "duplicates": found.duplicates,
        "waiting": found.waiting,
        "verdicts": dict(sorted(found.verdicts.items())),
    }
