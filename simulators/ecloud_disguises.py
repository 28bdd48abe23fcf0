"""The shapes in which the gateway's callbacks come beside the documented one, each by a switch."""

from typing import Any

from simulators.faults import Fault, FaultSwitches

#: The older numbering, where a kind has a number of its own.
NATIVE = {
    "30001": 0,
    "80005": 2,
    "30000": 4,
    "60001": 5,
    "80001": 9,
    "80002": 10,
    "80003": 11,
    "80004": 12,
    "85001": 16,
    "65004": 17,
}
#: All other news of groups, and of private life.
NATIVE_GROUP, NATIVE_PRIVATE = 14, 13
FLIPPED = (
    "msgId",
    "newMsgId",
    "timestamp",
    "self",
    "memberCount",
    "length",
    "voiceLength",
    "msgType",
)
ROOM_SUFFIX = "@chatroom"

Body = dict[str, Any]


def disguise(body: Body, faults: FaultSwitches, *, native: bool = False) -> Body:
    """
    The same callback in the shapes that are switched on.

    Args:
        native: the address was registered for the older format.
    """
    data = dict(body["data"])
    changed = {**body, "data": data}
    if native or faults.strike("native_type", "callback"):
        _make_native(changed, data)
    if "fromGroup" in data:
        _disguise_room(changed, data, faults)
    _disguise_mentions(data, faults)
    if faults.strike("no_self", "callback"):
        data.pop("self", None)
    if "newMsgId" in data and (fault := faults.strike("no_new_msg_id", "callback")):
        _take(data, "newMsgId", fault)
    if faults.strike("ids_as_strings", "callback"):
        for name in FLIPPED:
            if name in data:
                value = data[name]
                data[name] = str(value).lower() if isinstance(value, bool) else str(value)
    if faults.strike("strings_as_numbers", "callback"):
        changed["messageType"] = _number(changed["messageType"])
        data.update({name: _number(value) for name, value in data.items()})
    return changed


def _make_native(changed: Body, data: Body) -> None:
    """An integer for the type; XML in a group has its sender in front."""
    code = changed["messageType"]
    if code == "00000":
        return
    other = NATIVE_GROUP if code.startswith("8") else NATIVE_PRIVATE
    changed["messageType"] = NATIVE.get(code, other)
    content = data.get("content")
    if "fromGroup" in data and isinstance(content, str) and content.startswith("<"):
        data["content"] = f"{data['fromUser']}:\n{content}"


def _disguise_room(changed: Body, data: Body, faults: FaultSwitches) -> None:
    if mislabel := faults.strike("mislabel", "callback"):
        changed["messageType"] = "60001"
        if not mislabel.value:
            data["fromUser"] = data.pop("fromGroup")
    if spelling := faults.strike("odd_room", "callback"):
        # A bare number is known as a room by the field in which it stands.
        suffix = "" if spelling.value else "@chatRoom"
        if "fromGroup" in data:
            data["fromGroup"] = data["fromGroup"].removesuffix(ROOM_SUFFIX) + suffix
    if faults.strike("sender_prefix", "callback") and isinstance(data.get("content"), str):
        data["content"] = f"{data['fromUser']}:\n{data['content']}"


def _disguise_mentions(data: Body, faults: FaultSwitches) -> None:
    if "atlist" not in data:
        return
    if faults.strike("no_atlist", "callback"):
        del data["atlist"]
    elif shape := faults.strike("odd_atlist", "callback"):
        mentioned = data.pop("atlist")
        data.update({"atList": mentioned} if shape.value else {"atlist": ",".join(mentioned)})


def _take(data: Body, name: str, fault: Fault) -> None:
    if fault.value:
        data[name] = 0
    else:
        del data[name]


def _number(value: Any) -> Any:
    """A text of digits as the number that is written the same; anything else as it is."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and str(int(value)) == value:
        return int(value)
    return value
