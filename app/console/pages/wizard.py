"""The wizard: gateway, Dify, where callbacks go, groups; each step is tested before it is saved."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from starlette.responses import Response

from app.console.draft import Draft, is_well, refused_lines
from app.console.gate import refusal
from app.console.pages.groups import TRIGGER_WORDS
from app.console.pages.settings import SOURCE_WORDS
from app.console.reading.heard import read_heard, read_rooms
from app.console.setting_form import Field, choices_of, field_of, read_setting, typed_text
from app.console.setting_state import SettingState, look_at_settings
from app.console.visit import Visit
from app.peers import make_eclouds
from app.services.checks.report import Checked, Outcome
from app.services.ecloud.callback_url import masked, own_urls
from app.services.errors import EcloudError
from app.services.stages import utc_now
from app.utils.http_client import make_http_client
from app.utils.ids import parse_id
from config import SettingsError
from settings.tree import Leaf, leaves

PATH: Final = "/console/settings/wizard"


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One page of the wizard."""

    key: str
    title: str
    explained: str
    #: What is typed: dotted names.
    names: tuple[str, ...]


STEPS: Final = (
    Step(
        key="gateway",
        title="网关",
        explained="E云管家的接口地址,和登录它之后得到的 Authorization。测试只查询在线的微信号,不发送。",
        names=("ecloud.base_url", "ecloud.authorization"),
    ),
    Step(
        key="dify",
        title="Dify",
        explained="应用的「访问 API」页面上的地址(含 /v1)和密钥。测试只查询应用的信息,不提问。",
        names=("dify.base_url", "dify.api_key", "dify.streaming_enabled"),
    ),
    Step(
        key="callback",
        title="回调地址",
        explained="网关从它那里访问本服务的地址,只写主机(和反向代理加的前缀)。登记之后,网关把群里的消息投递到这里。",
        names=("ecloud.callback_url",),
    ),
    Step(
        key="groups",
        title="群",
        explained="没有单独设置的群,机器人何时回答。立即生效,以后在「群与规则」里逐个改。",
        names=("groups.trigger", "groups.prefixes", "groups.keywords", "groups.pattern"),
    ),
)
CALLBACK: Final = next(one for one in STEPS if one.key == "callback")
LABELS: Final = {
    "ecloud.base_url": "网关地址",
    "ecloud.authorization": "Authorization",
    "dify.base_url": "Dify 地址",
    "dify.api_key": "API 密钥",
    "dify.streaming_enabled": "边生成边发送(流式)",
    "ecloud.callback_url": "网关访问本服务的地址",
    "groups.trigger": "何时回答",
    "groups.prefixes": "前缀,一行一个",
    "groups.keywords": "关键词,一行一个",
    "groups.pattern": "正则表达式(RE2)",
}


async def begin(visit: Visit) -> Response:
    """The first step."""
    return visit.go(f"{PATH}/{STEPS[0].key}")


async def show_step(visit: Visit) -> Response:
    """One step with what is set by now, or the end."""
    key, state = visit.request.path_params["step"], await look_at_settings(visit)
    if key == "done":
        return visit.page("wizard_done.html", **_shared(state, key))
    step = _step(key)
    return _missing(visit) if step is None else await _page(visit, step, state)


async def test_step(visit: Visit) -> Response:
    """Test the connection with what is typed; nothing is saved."""
    step = _step(visit.request.path_params["step"])
    if step is None:
        return _missing(visit)
    state = await look_at_settings(visit)
    lines = await _tested(step, state, _typed(visit, step))
    return await _answered(visit, step, state, lines)


async def _answered(
    visit: Visit, step: Step, state: SettingState, lines: list[Checked]
) -> Response:
    """What came of a test: a script takes it into the page, else it is the page."""
    if not visit.is_fragment:
        return await _page(visit, step, state, lines=lines)
    return visit.page("checked_part.html", lines=lines, is_well=is_well(lines))


async def save_step(visit: Visit) -> Response:
    """Test what is typed, save it, and go on; where the test fails, only if the operator insists."""
    step = _step(visit.request.path_params["step"])
    if step is None:
        return _missing(visit)
    state, typed = await look_at_settings(visit), _typed(visit, step)
    lines = await _tested(step, state, typed)
    if not is_well(lines) and visit.form.get("anyway") != "1":
        return await _page(visit, step, state, lines=lines, may_insist=True)
    news, fixed = _news(state, typed), state.next.outside.fixed()
    free = {name: value for name, value in news.items() if name not in fixed}
    try:
        await visit.parts.settings.change(free, by=visit.deed("", ""))
    except SettingsError as error:
        return await _page(visit, step, state, lines=refused_lines(error))
    if outside := [_env_line(name, value) for name, value in news.items() if name in fixed]:
        return await _page(visit, step, await look_at_settings(visit), lines=lines, outside=outside)
    if not is_well(lines):
        return visit.go(_after(step), told="setting_restart")
    return visit.go(_after(step), told="wizard_saved" if lines else "group_changed")


async def register(visit: Visit) -> Response:
    """Tell the gateway where to post, with what is typed; the page then waits for a callback."""
    step, state = CALLBACK, await look_at_settings(visit)
    lines = await _register(visit, state, _typed(visit, step))
    return await _answered(visit, step, state, lines)


async def show_heard(visit: Visit) -> Response:
    """What the gateway has posted since the page was opened."""
    since = parse_id(visit.asked("since")) or 0
    heard = await read_heard(visit.parts.runtime.store, since=since)
    return visit.page("wizard_heard.html", heard=heard)


async def show_rooms(visit: Visit) -> Response:
    """The groups that were seen last."""
    return visit.page("wizard_rooms.html", rooms=await read_rooms(visit.parts.runtime.store))


def _step(key: str) -> Step | None:
    return next((one for one in STEPS if one.key == key), None)


def _after(step: Step) -> str:
    keys = [*(one.key for one in STEPS), "done"]
    return f"{PATH}/{keys[keys.index(step.key) + 1]}"


def _typed(visit: Visit, step: Step) -> dict[str, Any]:
    """What was typed; secrets that were left empty stay as they are."""
    found = {name: read_setting(leaves()[name], visit.form, name) for name in step.names}
    return {name: one.value for name, one in found.items() if not one.is_left}


async def _tested(step: Step, state: SettingState, typed: Mapping[str, Any]) -> list[Checked]:
    try:
        draft = Draft(state.next, typed)
    except SettingsError as error:
        return refused_lines(error)
    match step.key:
        case "gateway":
            # Where callbacks go is asked two steps later.
            lines = await draft.check_gateway()
            return [one for one in lines if not one.code.startswith("ecloud_callback")] or [
                Checked("E云管家", Outcome.OK, "登录有效")
            ]
        case "dify":
            return await draft.check_app()
        case "callback":
            if not draft.settings.ecloud.callback_url:
                return [Checked("回调", Outcome.FAILED, "还没有填网关访问本服务的地址。")]
            return await draft.check_gateway()
        case _:
            return []


async def _register(visit: Visit, state: SettingState, typed: Mapping[str, Any]) -> list[Checked]:
    try:
        ecloud = Draft(state.next, typed).settings.ecloud
    except SettingsError as error:
        return refused_lines(error)
    if not ecloud.callback_url or ecloud.missing:
        return [Checked("回调", Outcome.FAILED, "请先填好网关,和网关访问本服务的地址。")]
    # What is served until the next start is what this process was started with.
    tokens = visit.parts.runtime.settings.ecloud.callback_tokens
    target = own_urls(ecloud.callback_url, tokens)[0]
    secrets = (*tokens, ecloud.authorization.get_secret_value())
    async with make_http_client() as http:
        try:
            await make_eclouds(ecloud, http)[0].set_callback_url(target)
        except EcloudError as error:
            told = masked(str(error), secrets)
            return [
                Checked("回调", Outcome.FAILED, f"网关没有接受({told})。请检查第一步和这个地址。")
            ]
    await visit.parts.audit.note(
        visit.deed("callback.register", "default", after=masked(target, tokens))
    )
    return [Checked("回调", Outcome.OK, f"已登记 {masked(target, tokens)}")]


def _news(state: SettingState, typed: Mapping[str, Any]) -> dict[str, Any]:
    """What is not in force anyway, wherever it stands; all of it where it cannot be judged."""
    try:
        tried = Draft(state.next, typed).settings
    except SettingsError:
        return dict(typed)
    is_news = {
        name: leaves()[name].value_in(tried) != leaves()[name].value_in(state.next.settings)
        for name in typed
    }
    return {name: value for name, value in typed.items() if is_news[name]}


def _env_line(name: str, value: Any) -> str:
    """What to write where the console cannot."""
    leaf = leaves()[name]
    if leaf.is_secret:
        return f"{leaf.env}=<刚才输入的>"
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value
    return f"{leaf.env}={text}"


def _field(leaf: Leaf, state: SettingState) -> dict[str, Any]:
    fixed = state.next.outside.fixed().get(leaf.name)
    value = leaf.value_in(state.next.settings)
    return {
        "name": leaf.name,
        "kind": field_of(leaf),
        "choices": choices_of(leaf),
        "text": typed_text(leaf, state.next.settings),
        "is_set": bool(value.get_secret_value()) if leaf.is_secret else bool(value),
        "fixed": "" if fixed is None else str(fixed),
    }


async def _page(
    visit: Visit,
    step: Step,
    state: SettingState,
    *,
    lines: Sequence[Checked] = (),
    outside: Sequence[str] = (),
    may_insist: bool = False,
) -> Response:
    fields = [_field(leaves()[name], state) for name in step.names]
    if visit.form.pairs:
        # What was typed stays in its field, but no secret.
        for one in fields:
            if one["kind"] is not Field.SECRET:
                one["text"] = visit.form.get(one["name"])
    is_last = step.key == "groups"
    rooms = await read_rooms(visit.parts.runtime.store) if is_last else []
    status = HTTPStatus.UNPROCESSABLE_ENTITY if may_insist else HTTPStatus.OK
    return visit.page(
        "wizard.html",
        status,
        **_shared(state, step.key),
        step=step,
        fields=fields,
        labels=LABELS,
        rooms=rooms,
        Field=Field,
        lines=lines,
        is_well=is_well(lines),
        outside=outside,
        may_insist=may_insist,
        next_path=_after(step),
        since=int(utc_now().timestamp()),
        trigger_words=TRIGGER_WORDS,
        source_words=SOURCE_WORDS,
    )


def _shared(state: SettingState, key: str) -> dict[str, Any]:
    settings = state.next.settings
    ready = {
        "gateway": bool(settings.ecloud.every_login()),
        "dify": bool(settings.dify.every_app()),
        "callback": bool(settings.ecloud.callback_url),
    }
    return {"state": state, "steps": STEPS, "here": key, "ready": ready}


def _missing(visit: Visit) -> Response:
    return refusal(visit, HTTPStatus.NOT_FOUND, "没有这个页面。")
