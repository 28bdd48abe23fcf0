"""What a login at the gateway has to be like for messages to arrive. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.services.ecloud.callback_url import is_served
from app.services.findings import Finding, Look, risk

REGISTER = "请运行 python -m app.cli callback register http(s)://网关能访问到的地址。"


@dataclass(frozen=True, kw_only=True, slots=True)
class GatewayFacts:
    """What the gateway said of one login."""

    #: WeChat accounts that are online.
    online: int
    #: Where it posts callbacks; empty: nowhere; None: it does not tell.
    registered: str | None


def judge_gateway(facts: GatewayFacts, *, own: Sequence[str], tokens: Sequence[str]) -> Look:
    """
    What is wrong with a login, and what to show of it.

    Args:
        own: the addresses of this bridge; empty: the settings do not say.
        tokens: those that are valid in a callback's path.
    """
    is_ours = facts.registered in own if own else is_served(facts.registered or "", tokens)
    callback = _callback(facts.registered, is_ours=is_ours)
    findings = tuple(one for one in (_nobody(facts), _elsewhere(callback)) if one is not None)
    shown = {"online": facts.online, "callback": callback}
    return Look(findings=findings, identity=shown, facts=shown)


def _callback(registered: str | None, *, is_ours: bool) -> str:
    if registered is None:
        return "unknown"
    if not registered:
        return "none"
    return "ours" if is_ours else "elsewhere"


def _nobody(facts: GatewayFacts) -> Finding | None:
    if facts.online:
        return None
    return risk("ecloud_nobody_online", "没有微信号在线:收不到也发不出消息。请在 E云管家登录。")


def _elsewhere(callback: str) -> Finding | None:
    if callback == "none":
        return risk("ecloud_callback_none", f"网关没有登记回调地址:收不到消息。{REGISTER}")
    if callback == "elsewhere":
        text = f"网关登记的回调地址不是本服务的:消息去了别处。{REGISTER}"
        return risk("ecloud_callback_elsewhere", text)
    return None
