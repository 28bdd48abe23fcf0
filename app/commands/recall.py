"""``recall``: the bot's answer is taken back out of the group."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.choice import parse_ids
from app.commands.database import with_database
from app.commands.output import FAILED, WRONG_USE, AsJson, fail, print_json

if TYPE_CHECKING:
    from app.models.flow import MessageId
    from app.services.store import Store
    from app.services.taking_back import Fates

#: Seconds of one transaction at most.
SECONDS = 30.0


def recall(
    message: Annotated[
        str | None, typer.Argument(metavar="ID", help="消息编号:收回对它的回答")
    ] = None,
    group: Annotated[
        str | None, typer.Option("--group", help="群的编号:收回这个群里的上一个回答")
    ] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="只看会收回哪些,不改动")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="不再询问")] = False,
    as_json: AsJson = False,
) -> None:
    """
    收回(撤回)机器人的一个回答:两分钟之内发出的各段从群里撤回,还没发的不再发。

    写出编号或 --group,二者取一。由运行中的服务在几秒内执行,先于往那个群发的任何别的消息。
    """
    if (message is None) == (group is None) or (group is not None and not group.strip()):
        fail("要收回哪个回答?写出消息编号,或用 --group,二者取一。", WRONG_USE)
    named = parse_ids([message])[0] if message is not None else None
    found, fates = with_database(lambda store: _look(store, named, group or ""), seconds=SECONDS)
    if found is None:
        fail("这个群最近十分钟没有可收回的回答。")
    if fates is not None and not dry_run and (fates.going or fates.cancelled):
        _confirm(fates, yes=yes)
        fates = with_database(lambda store: _take(store, found), seconds=SECONDS)
    assert fates is not None  # noqa: S101 - both are there or neither
    print_json(_shown(found, fates, is_dry_run=dry_run)) if as_json else _tell(
        found, fates, is_dry_run=dry_run
    )
    if not (fates.going or fates.cancelled):
        raise typer.Exit(FAILED)


async def _look(
    store: "Store", named: "MessageId | int | None", group: str
) -> "tuple[MessageId | None, Fates | None]":
    from app.models.flow import MessageId, WcId  # noqa: PLC0415 - late
    from app.services.take_backs import TakeBacks  # noqa: PLC0415 - late

    take_backs = TakeBacks(store)
    found = await take_backs.last(WcId(group.strip())) if named is None else MessageId(int(named))
    return found, None if found is None else await take_backs.look(found)


async def _take(store: "Store", message_id: "MessageId") -> "Fates":
    from app.services.take_backs import TakeBacks  # noqa: PLC0415 - late

    return await TakeBacks(store).take(message_id)


def _confirm(fates: "Fates", *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        fail(f"会收回{_words(fates)};这里没有人可问:请加 --yes。", WRONG_USE)
    if not typer.confirm(f"将收回{_words(fates)}。确定吗?", err=True):
        fail("没有收回。")


def _words(fates: "Fates") -> str:
    parts = [
        f"{words}第 {'、'.join(str(seq + 1) for seq in seqs)} 段"
        for words, seqs in (("已发的", fates.going), ("没发的", fates.cancelled))
        if seqs
    ]
    return ",".join(parts)


def _tell(message_id: "MessageId", fates: "Fates", *, is_dry_run: bool) -> None:
    if fates.going or fates.cancelled:
        begins = "只是看看,没有改动:会收回" if is_dry_run else "已写下,服务随即收回"
        typer.echo(f"消息 {message_id}:{begins}{_words(fates)}。")
    else:
        typer.echo(f"消息 {message_id}:没有可收回的。")
    if fates.staying:
        numbers = "、".join(str(seq + 1) for seq in fates.staying)
        typer.echo(f"收不回:第 {numbers} 段,发出已过两分钟,或网关没有给出编号。")


def _shown(message_id: "MessageId", fates: "Fates", *, is_dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": is_dry_run,
        "id": str(message_id),
        "going": list(fates.going),
        "cancelled": list(fates.cancelled),
        "staying": list(fates.staying),
    }
