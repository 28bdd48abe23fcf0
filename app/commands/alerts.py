"""``alerts``: whether the operator can be told."""

import asyncio
from typing import TYPE_CHECKING

import typer

from app.commands.output import FAILED, WRONG_USE, AsJson, fail, load, print_json, printable

if TYPE_CHECKING:
    from app.services.errors import AlertError
    from config import Settings

alerts = typer.Typer(help="告警:告诉运维人员的各条路。", no_args_is_help=True)


@alerts.callback()
def _alerts() -> None:
    """Makes ``test`` a word of its own, though it is the only command so far."""


@alerts.command("test")
def alerts_test(*, as_json: AsJson = False) -> None:
    """经每条路发一条测试告警,逐条说送到没有;有没送到的退出码为 1。"""
    found = load().settings
    outcomes = asyncio.run(_send_all(found))
    if not outcomes:
        fail("没有配置告警:设 alerts.wecom_url 等,见 docs/operations.md 的「告警」。", WRONG_USE)
    reasons = {
        name: "" if error is None else printable(str(error)) for name, error in outcomes.items()
    }
    if as_json:
        shown = [
            {"channel": name, "ok": not reason, "reason": reason}
            for name, reason in reasons.items()
        ]
        print_json(shown)
    else:
        for name, reason in reasons.items():
            typer.echo(f"✗ {name}:{reason}" if reason else f"✓ {name}:送到了")
    if any(reasons.values()):
        raise typer.Exit(FAILED)


async def _send_all(settings: "Settings") -> "dict[str, AlertError | None]":
    """Through all channels side by side; by channel, why it is not certain that it arrived."""
    import socket  # noqa: PLC0415 - late

    from app.channels import make_channels, make_sender  # noqa: PLC0415 - late
    from app.services.alerts.channel import try_to_send  # noqa: PLC0415 - late
    from app.services.alerts.ledger import trial_notice  # noqa: PLC0415 - late
    from app.services.alerts.message import compose  # noqa: PLC0415 - late
    from app.utils.clock import SystemClock  # noqa: PLC0415 - late
    from app.utils.http_client import make_http_client  # noqa: PLC0415 - late

    clock = SystemClock()
    message = compose([trial_notice(clock.time())], make_sender(settings, socket.gethostname()))
    async with make_http_client() as http:
        channels = make_channels(settings.alerts, http, clock)
        errors = await asyncio.gather(*(try_to_send(one, message) for one in channels))
    return {one.name: error for one, error in zip(channels, errors, strict=True)}
