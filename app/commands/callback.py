"""``callback``: where the gateway posts to."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.output import WRONG_USE, AsJson, fail, load, print_json

if TYPE_CHECKING:
    from app.services.ecloud.client import EcloudClient
    from config import Settings

CALLBACK_PATH = "/api/v1/callback"
MASK = "***"
SHORTEST_TOKEN = 8
SHOWN_OF_TOKEN = 4

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
    base = base_url or f"http://<本机地址>:{found.server.port}"
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
        str, typer.Argument(help="完整的回调地址,或只写网关能访问到的 http(s)://主机[:端口]")
    ],
) -> None:
    """在网关登记回调地址;只写主机时自动补全路径和令牌。"""
    found = load().settings
    tokens = found.ecloud.callback_tokens
    try:
        target = complete_callback_url(url, tokens)
    except ValueError as error:
        fail(str(error), WRONG_USE)
    _ask_gateway(found, lambda ecloud: ecloud.set_callback_url(target))
    typer.echo(f"已登记:{_masked(target, tokens)}")


@callback.command("cancel")
def callback_cancel(
    *,
    yes: Annotated[bool, typer.Option("--yes", help="不再询问")] = False,
) -> None:
    """取消登记;之后网关不再投递任何消息。"""
    found = load().settings
    if not yes and not typer.confirm("取消后网关不再投递任何消息,确定吗?"):
        fail("没有取消。")
    _ask_gateway(found, lambda ecloud: ecloud.cancel_callback_url())
    typer.echo("已取消登记。")


def callback_url(base: str, token: str) -> str:
    """The address the gateway posts to (pure)."""
    return f"{base.rstrip('/')}{CALLBACK_PATH}" + (f"/{token}" if token else "")


def complete_callback_url(url: str, tokens: Sequence[str]) -> str:
    """
    The address to register: path and token are added to a bare host (pure).

    Raises:
        ValueError: this bridge would not take callbacks there; the text never holds a token.
    """
    from urllib.parse import urlsplit  # noqa: PLC0415 - late

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("回调地址要以 http:// 或 https:// 开头,并写明主机。")
    if parts.query or parts.fragment:
        raise ValueError("回调地址里不能有 ? 和 #。")
    if not parts.path.strip("/"):
        return callback_url(url, next(iter(tokens), ""))
    served = [callback_url("", token) for token in tokens or [""]]
    if not any(parts.path.endswith(path) for path in served):
        shown = callback_url("", "<令牌>" if tokens else "")
        raise ValueError(f"回调地址的路径应以 {shown} 结尾,否则本服务收不到消息。")
    return url


def mask_token(token: str) -> str:
    """The beginning of a token, enough to tell two apart (pure)."""
    return token[:SHOWN_OF_TOKEN] + MASK if len(token) >= SHORTEST_TOKEN else MASK


def _masked(url: str, tokens: Sequence[str]) -> str:
    for token in tokens:
        url = url.replace(token, mask_token(token))
    return url


def _ask_gateway(
    found: "Settings", call: Callable[["EcloudClient"], Coroutine[Any, Any, None]]
) -> None:
    from app.peers import make_ecloud  # noqa: PLC0415 - late
    from app.services.errors import EcloudError  # noqa: PLC0415 - late
    from app.utils.http_client import make_http_client  # noqa: PLC0415 - late

    if found.ecloud.missing:
        fail(f"未配置:{'、'.join(found.ecloud.missing)}", WRONG_USE)

    async def ask() -> None:
        async with make_http_client() as http:
            ecloud = make_ecloud(found.ecloud, http)
            if ecloud is not None:
                await call(ecloud)

    try:
        asyncio.run(ask())
    except EcloudError as error:
        fail(f"网关没有接受:{error.code}: {error}")
