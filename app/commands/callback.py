"""``callback``: where the gateway posts to."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.output import WRONG_USE, AsJson, fail, load, print_json
from app.services.ecloud.callback_url import (
    callback_url,
    complete_callback_url,
    mask_token,
    masked,
    own_urls,
)

if TYPE_CHECKING:
    from app.services.ecloud.client import EcloudClient
    from config import Settings

OnlyLogin = Annotated[
    str, typer.Option("--login", help="只对这个网关登录;设置里平铺的那个名为 default")
]

callback = typer.Typer(help="在网关登记或取消回调地址。", no_args_is_help=True)


@callback.command("show")
def callback_show(
    base_url: Annotated[
        str, typer.Argument(help="网关访问本服务的地址,例如 https://bot.example.com")
    ] = "",
    *,
    reveal: Annotated[bool, typer.Option("--reveal", help="显示完整的令牌")] = False,
    as_json: AsJson = False,
) -> None:
    """显示应在网关登记的回调地址。"""
    found = load().settings
    token = next(iter(found.ecloud.callback_tokens), "")
    base = base_url or found.ecloud.callback_url or f"http://<本机地址>:{found.server.port}"
    url = callback_url(base, token if reveal or not token else mask_token(token))
    if as_json:
        print_json({"url": url, "has_token": bool(token)})
        return
    typer.echo(url)
    if not token:
        typer.echo("未设置 ecloud.callback_token:任何能访问这个地址的人都能投递消息。", err=True)


@callback.command("register")
def callback_register(
    url: Annotated[
        str,
        typer.Argument(
            help="完整的回调地址,或只写网关能访问到的 http(s)://主机[:端口];不写则用 ecloud.callback_url"
        ),
    ] = "",
    *,
    login: OnlyLogin = "",
) -> None:
    """在网关登记回调地址;只写主机时自动补全路径和令牌。有几个网关登录时,每个都登记。"""
    found = load().settings
    tokens = found.ecloud.callback_tokens
    if not (url or found.ecloud.callback_url):
        fail("请写出网关访问本服务的地址,或设置 ecloud.callback_url。", WRONG_USE)
    try:
        own = own_urls(found.ecloud.callback_url, tokens)[0]
        target = complete_callback_url(url, tokens) if url else own
    except ValueError as error:
        fail(str(error), WRONG_USE)
    _ask_gateways(found, login, lambda ecloud: ecloud.set_callback_url(target))
    typer.echo(f"已登记:{masked(target, tokens)}")


@callback.command("cancel")
def callback_cancel(
    *,
    yes: Annotated[bool, typer.Option("--yes", help="不再询问")] = False,
    login: OnlyLogin = "",
) -> None:
    """取消登记;之后网关不再投递任何消息。"""
    found = load().settings
    if not yes and not typer.confirm("取消后网关不再投递任何消息,确定吗?"):
        fail("没有取消。")
    _ask_gateways(found, login, lambda ecloud: ecloud.cancel_callback_url())
    typer.echo("已取消登记。")


def _ask_gateways(
    found: "Settings", login: str, call: Callable[["EcloudClient"], Coroutine[Any, Any, None]]
) -> None:
    """Make a call by every login, or by one; a login that refuses keeps no other from being asked."""
    from app.peers import make_eclouds  # noqa: PLC0415 - late
    from app.services.errors import EcloudError  # noqa: PLC0415 - late
    from app.utils.http_client import make_http_client  # noqa: PLC0415 - late

    names = [one.name for one in found.ecloud.every_login()]
    if not names:
        fail(f"未配置:{'、'.join(found.ecloud.missing)}", WRONG_USE)
    if login and login not in names:
        fail(f"没有名为 {login} 的网关登录;有:{'、'.join(names)}", WRONG_USE)

    async def ask() -> list[EcloudError]:
        failed = []
        async with make_http_client() as http:
            for ecloud in make_eclouds(found.ecloud, http):
                if login in ("", ecloud.login.name):
                    try:
                        await call(ecloud)
                    except EcloudError as error:
                        failed.append(error)
        return failed

    if refused := asyncio.run(ask()):
        fail("\n".join(f"网关没有接受:{error.code}: {error}" for error in refused))
