"""Callbacks of the simulated gateway: their bodies in the optimised version."""

from collections.abc import Sequence
from html import escape
from typing import Any

from simulators.ecloud_world import Account, Group, World

GROUP_TEXT = "80001"
MENTION_END = "\u2005"


def group_callback(
    world: World,
    account: Account,
    group: Group,
    *,
    from_user: str,
    content: str,
    ids: tuple[int, int],
    timestamp: int,
    message_type: str = GROUP_TEXT,
    mentioned: Sequence[str] = (),
    push_content: str = "",
    extra: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The body one account's callback has for something said in a group; *timestamp* in seconds."""
    own = from_user == account.wc_id
    data: dict[str, Any] = {
        "content": content,
        "fromGroup": group.group_id,
        "fromUser": from_user,
        "memberCount": len(group.members),
        "msgId": ids[0],
        "newMsgId": ids[1],
        "pushContent": push_content,
        "self": own,
        "timestamp": timestamp,
        "toUser": group.group_id if own else account.wc_id,
        "wId": account.w_id,
        **(extra or {}),
    }
    if mentioned:
        data["atlist"] = list(mentioned)
    if not data["pushContent"]:
        del data["pushContent"]
    return {
        "account": world.developer,
        "messageType": message_type,
        "wcId": account.wc_id,
        "data": data,
    }


QUOTATION = "80014"


def quotation(
    text: str,
    *,
    group: Group,
    sender: str,
    name: str,
    content: str,
    new_msg_id: int,
    timestamp: int,
) -> dict[str, Any]:
    """What the data of a callback has in which *text* stands below a message that it quotes."""
    told = {
        "type": "1",
        "svrid": str(new_msg_id),
        "fromusr": group.group_id,
        "chatusr": sender,
        "displayname": name,
        "content": content,
        "createtime": str(timestamp),
    }
    reference = "".join(f"<{tag}>{escape(value)}</{tag}>" for tag, value in told.items())
    markup = (
        '<?xml version="1.0"?>\n<msg><appmsg appid="" sdkver="0">'
        f"<title>{escape(text)}</title><type>57</type><refermsg>{reference}</refermsg></appmsg></msg>"
    )
    return {"content": markup, "title": text, "msgType": 49}


def bare_callback(
    world: World, account: Account | None, message_type: str, data: dict[str, Any]
) -> dict[str, Any]:
    """A body without a group: the test push, an offline notice."""
    return {
        "account": world.developer,
        "messageType": message_type,
        "wcId": account.wc_id if account else "",
        "data": data,
    }
