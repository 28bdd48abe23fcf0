"""Success and failure of one call to the simulated gateway, and the checks all calls share."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from simulators.ecloud_world import Account, World

Body = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Done:
    """Code 1000; *data* is any JSON."""

    data: Any = None
    message: str = "处理成功"


class Refused(Exception):
    """Code 1001 and this sentence."""


#: What is needed is there and of its type: that is checked before an endpoint is asked.
Endpoint = Callable[[Body], Awaitable[Done]]


def logged_in(world: World, body: Body) -> Account:
    """The account of the present login named by wId."""
    account = world.account_of(body["wId"])
    if account is None:
        raise Refused("wId不存在或已失效，请重新登录")
    if not account.online:
        raise Refused("账号已离线，请重新登录")
    return account
