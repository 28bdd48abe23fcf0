"""The switches that stop taking or sending everywhere: confirmed first, shown on every page."""

from http import HTTPStatus
from typing import Final

from starlette.responses import Response

from app.console.gate import refusal
from app.console.visit import Visit, inner_path
from app.models.pause import PauseKind
from app.services.pauses import PausePeriod, PauseTable

#: Of what can be stopped: its name, what the button says, and what comes of it.
SWITCHES: Final = {
    PauseKind.TAKING: (
        "收取",
        "暂停收取",
        "回调照常收下、保存并回答 200,一条也不会丢;但什么也不处理、不提问。正在处理的做完。",
    ),
    PauseKind.SENDING: (
        "发送",
        "暂停发送",
        "什么也不发到群里。写好的回答等着,新的问题也等着,不问 Dify。收回(撤回)照常执行。",
    ),
}
#: What the bar on every page says.
BAR_WORDS: Final = {
    PauseKind.TAKING: "收取已暂停:消息照常收下,但不处理。",
    PauseKind.SENDING: "发送已暂停:什么也不发到群里。",
}


def paused_switches(visit: Visit) -> list[PausePeriod]:
    """The switches that are off, for every page."""
    lasting = visit.parts.runtime.pauses.now().lasting
    return [one for one in lasting if one.kind in SWITCHES]


async def show_bar(visit: Visit) -> Response:
    """The bar alone, for a page that was opened before."""
    return visit.page("pause_bar.html")


async def show_switch(visit: Visit) -> Response:
    """What a pause would do, and a button."""
    kind = _kind_of(visit)
    if kind is None:
        return refusal(visit, HTTPStatus.NOT_FOUND, "没有这个页面。")
    _, act, effect = SWITCHES[kind]
    is_paused = visit.parts.runtime.pauses.now().of(kind) is not None
    return visit.page("pause.html", kind=kind, act=act, effect=effect, is_paused=is_paused)


async def pause(visit: Visit) -> Response:
    """Stop it, in all processes."""
    return await _change(visit, is_paused=True)


async def resume(visit: Visit) -> Response:
    """Let it go on."""
    return await _change(visit, is_paused=False)


async def _change(visit: Visit, *, is_paused: bool) -> Response:
    kind = _kind_of(visit)
    if kind is None:
        return refusal(visit, HTTPStatus.NOT_FOUND, "没有这个页面。")
    runtime = visit.parts.runtime
    table = PauseTable(runtime.store)
    by = visit.deed("pause.begin" if is_paused else "pause.end", kind.value)
    await (table.begin if is_paused else table.end)(kind, by=by)
    await runtime.pauses.load()
    back = inner_path(visit.form.get("next"))
    return visit.go(back, told="paused" if is_paused else "resumed")


def _kind_of(visit: Visit) -> PauseKind | None:
    """Which switch the address means; None: there is no such one."""
    name = visit.request.path_params["kind"]
    return next((kind for kind in SWITCHES if kind == name), None)
