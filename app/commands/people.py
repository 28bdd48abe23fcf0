"""``people``: what is kept of one person, and its erasure."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.choice import parse_wxid
from app.commands.database import with_database
from app.commands.output import FAILED, WRONG_USE, AsJson, fail, load, print_json, printable

if TYPE_CHECKING:
    from app.services.erasure import Erased, Held
    from app.services.store import Store

Person = Annotated[str, typer.Argument(metavar="WXID", help="这个人的 wxid")]

people = typer.Typer(help="查看、抹去一个人的数据。", no_args_is_help=True)


@people.command("show")
def people_show(person: Person, *, as_json: AsJson = False) -> None:
    """各表里有这个人多少行,Dify 里有他多少个会话(只读)。"""
    person = parse_wxid(person)
    held = _look_up(person)
    if as_json:
        print_json({"user": printable(person), **_shown(held)})
        return
    typer.echo(_in_words(held))


@people.command("erase")
def people_erase(
    person: Person,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="不再询问")] = False,
    with_dify: Annotated[
        bool, typer.Option("--dify", help="也删除他在 Dify 里的会话(DELETE /conversations)")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """抹去一个人:他的联系人、会话、对话记录和消息内容。不能恢复;等待中的问题不再回答。"""
    person = parse_wxid(person)
    held = _look_up(person)
    if held.is_own:
        fail("这是我们自己的微信号,不是群成员。", WRONG_USE)
    if not yes:
        typer.echo(_in_words(held), err=True)
        if typer.prompt("不能恢复。确定的话,再写一遍 wxid", err=True).strip() != person:
            fail("没有抹去。")
    gone, left = _forget_at_dify(person, held) if with_dify else (0, ())
    erased = _erase(person)
    if as_json:
        print_json(
            {
                "user": printable(person),
                "rows": erased.rows,
                "under_way": erased.under_way,
                "dify_deleted": gone,
                "dify_left": [printable(one) for one in left],
            }
        )
    else:
        _tell(erased, gone, left)
    if erased.under_way or left:
        raise typer.Exit(FAILED)


def _look_up(person: str) -> "Held":
    from app.models.flow import WcId  # noqa: PLC0415 - late

    async def work(store: "Store") -> "Held":
        from app.services.erasure import look_up  # noqa: PLC0415 - late

        return await look_up(store, WcId(person))

    return with_database(work)


def _erase(person: str) -> "Erased":
    from app.models.flow import WcId  # noqa: PLC0415 - late

    async def work(store: "Store") -> "Erased":
        from app.services.erasure import erase  # noqa: PLC0415 - late

        return await erase(store, WcId(person))

    return with_database(work)


def _forget_at_dify(person: str, held: "Held") -> tuple[int, tuple[str, ...]]:
    """How many conversations are gone there, and what is said of those that are not."""
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - late

    from app.peers import make_apps  # noqa: PLC0415 - late
    from app.services.errors import DifyError  # noqa: PLC0415 - late
    from app.utils.clock import SystemClock  # noqa: PLC0415 - late
    from app.utils.http_client import make_http_client  # noqa: PLC0415 - late

    settings = load().settings
    zone = ZoneInfo(settings.conversations.timezone)
    left = []

    async def work() -> int:
        gone = 0
        async with make_http_client() as http:
            apps = make_apps(settings.dify, http, SystemClock(), zone)
            for app, conversation in held.conversations:
                if app not in apps:
                    left.append(f"{app}/{conversation}: 没有配置这个应用")
                    continue
                try:
                    await apps[app].client.delete_conversation(conversation, person)
                except DifyError as error:
                    left.append(f"{app}/{conversation}: {error.code}")
                else:
                    gone += 1
        return gone

    return asyncio.run(work()), tuple(left)


def _shown(held: "Held") -> dict[str, Any]:
    return {"rows": held.rows, "dify_conversations": len(held.conversations)}


def _in_words(held: "Held") -> str:
    rows = "、".join(f"{name} {count} 行" for name, count in held.rows.items())
    return f"{rows};Dify 会话 {len(held.conversations)} 个"


def _tell(erased: "Erased", gone: int, left: tuple[str, ...]) -> None:
    rows = "、".join(f"{name} {count} 行" for name, count in erased.rows.items())
    typer.echo(f"已抹去:{rows};Dify 会话 {gone} 个。")
    if erased.under_way:
        typer.echo(
            f"有 {erased.under_way} 条消息的回答正在发送,没有抹去:一分钟后再运行一次。", err=True
        )
    for one in left:
        typer.echo(f"Dify 里没有删掉:{printable(one)}", err=True)
    typer.echo(
        "没有动的:日志文件、备份、溢出文件,以及别人的消息里引用他的话。"
        "他还在群里时,群成员列表下次更新会再记下他的昵称。",
        err=True,
    )
