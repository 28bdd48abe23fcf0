"""What a Dify app has to be like to be asked. Pure; every sentence says what was found and what to do."""

from typing import Final

from app.services.dify.apps import AskedApp
from app.services.dify.endpoints import endpoint_of_mode
from app.services.findings import Finding, Look, broken, risk
from app.services.silk import has_decoder

#: Kinds that releases from 0.15 on are known to have.
KNOWN_MODES: Final = frozenset({"chat", "agent-chat", "advanced-chat", "workflow", "completion"})


def judge_app(app: AskedApp, app_name: str) -> Look:
    """
    What is wrong with an app, and what to show of it, by what it has said of itself.

    Args:
        app_name: as its author calls it; empty: the release does not say.
    """
    traits = app.client.traits
    found = (_kind(app), _unknown_kind(app), _inputs(app), _deaf(app), _decoder(app))
    identity = {
        "name": app_name or "unknown",
        "kind": traits.mode or "unknown",
        "release": traits.release or "unknown",
        "endpoint": traits.endpoint.path,
        "asked": "streaming" if app.is_streamed or traits.must_stream else "blocking",
    }
    findings = tuple(finding for finding in found if finding is not None)
    return Look(findings=findings, identity=identity, facts=identity)


def judge_refusal(peer_code: str) -> Look:
    """What is wrong with an app that does not even say what it is."""
    text = (
        f"Dify 不接受这个应用的密钥或地址({peer_code[:64] or '没有错误码'}):提问都会成为死信。"
        "请检查 dify.api_key、dify.base_url(更多的应用在 dify.apps),改好后重启。"
    )
    return Look(findings=(broken("dify_refused", text),))


def _kind(app: AskedApp) -> Finding | None:
    traits = app.client.traits
    wanted = endpoint_of_mode(traits.mode)
    if wanted is None or wanted is traits.endpoint:
        return None
    return broken(
        "dify_kind",
        f"dify.kind 是 {traits.endpoint.name},应用却是 {traits.mode}:提问会被拒绝。"
        f"请改成 {wanted.name} 或 auto。",
    )


def _unknown_kind(app: AskedApp) -> Finding | None:
    mode = app.client.traits.mode
    if not mode or mode in KNOWN_MODES:
        return None
    return risk(
        "dify_unknown_kind",
        f"应用的种类 {mode[:64]} 是这个程序不认识的,当作聊天助手提问。",
    )


def _inputs(app: AskedApp) -> Finding | None:
    client = app.client
    lacking = app.inputs.lacking(client.traits.fields, question_key=client.question_key)
    if not lacking:
        return None
    return broken(
        "dify_input_lacking",
        f"应用要求变量 {'、'.join(lacking)},dify.inputs 里没有:问题会成为死信。"
        "请给出模板,或在 Dify 里改成选填,然后 python -m app.cli failed replay。",
    )


def _deaf(app: AskedApp) -> Finding | None:
    parameters = app.client.traits.parameters
    if not app.hears_voices or parameters is None or parameters.hears:
        return None
    return risk(
        "dify_deaf",
        "dify.voice 是打开的,而应用没有打开「语音转文字」:群里的语音不会回答。"
        "请在 Dify 的应用里打开并发布,或关闭 dify.voice。",
    )


def _decoder(app: AskedApp) -> Finding | None:
    if not app.hears_voices or has_decoder():
        return None
    return risk(
        "voice_no_decoder",
        "dify.voice 是打开的,而这里没有 silk-python(有的平台没有它的安装包):silk 语音会成为死信。"
        "请换一个平台运行,或关闭 dify.voice。",
    )
