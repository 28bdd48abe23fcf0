"""``pause`` and ``resume``: stop taking, stop sending, or stop one person's questions, and go on."""

from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.choice import parse_wxid
from app.commands.database import with_database
from app.commands.output import AsJson, print_json, printable

if TYPE_CHECKING:
    from app.services.store import Store

#: Seconds of one transaction at most.
SECONDS = 30.0
_WORDS = {"taking": "收取", "sending": "发送", "user": "这个人的提问"}

User = Annotated[str, typer.Argument(metavar="WXID", help="用户的 wxid")]

pause = typer.Typer(
    help="暂停收取、发送或一个人的提问;写在数据库里,所有进程两秒内照做,重启也不解除。",
    no_args_is_help=True,
)
resume = typer.Typer(help="恢复收取、发送或一个人的提问。", no_args_is_help=True)


@pause.command("taking")
def pause_taking(*, as_json: AsJson = False) -> None:
    """回调照常收下、保存,但什么也不处理、不提问;手里的做完。"""
    _change("taking", is_paused=True, as_json=as_json)


@pause.command("sending")
def pause_sending(*, as_json: AsJson = False) -> None:
    """什么也不发到群里;写好的回答等着,新的问题也等着,不问 Dify。"""
    _change("sending", is_paused=True, as_json=as_json)


@pause.command("user")
def pause_user(user: User, *, as_json: AsJson = False) -> None:
    """一个人的消息照常收下,但等着,不提问。"""
    _change("user", user, is_paused=True, as_json=as_json)


@resume.command("taking")
def resume_taking(*, as_json: AsJson = False) -> None:
    """接着处理,先等的先来。"""
    _change("taking", is_paused=False, as_json=as_json)


@resume.command("sending")
def resume_sending(*, as_json: AsJson = False) -> None:
    """接着发送和提问,按原来的次序和速度。"""
    _change("sending", is_paused=False, as_json=as_json)


@resume.command("user")
def resume_user(user: User, *, as_json: AsJson = False) -> None:
    """接着处理这个人的消息。"""
    _change("user", user, is_paused=False, as_json=as_json)


def _change(kind: str, user: str = "", *, is_paused: bool, as_json: bool) -> None:
    """Write it down; the processes that run read it within a second."""
    from app.models.pause import PauseKind  # noqa: PLC0415 - late
    from app.services.audit import ON_THE_MACHINE, Deed  # noqa: PLC0415 - late
    from app.services.pauses import PauseTable  # noqa: PLC0415 - late

    if kind == "user":
        user = parse_wxid(user)
    begin, end = ("queue.pause", "queue.resume") if user else ("pause.begin", "pause.end")
    action = begin if is_paused else end
    by = Deed(operator=ON_THE_MACHINE, action=action, subject=user or kind)

    async def work(store: "Store") -> bool:
        table = PauseTable(store)
        change = table.begin if is_paused else table.end
        return await change(PauseKind(kind), user, by=by)

    changed = with_database(work, seconds=SECONDS)
    if as_json:
        shown = {"what": kind, "paused": is_paused, "changed": changed}
        print_json({**shown, "user": printable(user)} if user else shown)
        return
    what = _WORDS[kind] + (f"({printable(user)})" if user else "")
    if changed:
        typer.echo(f"{what}:{'已暂停' if is_paused else '已恢复'},两秒内生效。")
    else:
        typer.echo(f"{what}:{'本来就暂停着' if is_paused else '没有暂停'},什么也没有改。")
