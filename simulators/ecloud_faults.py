"""What can be switched to go wrong at the simulated gateway."""

from simulators.faults import FaultKind

SENDS = ("/send*",)
LOGGED_IN = ("/send*", "/revokeMsg", "/getContact", "/getChatRoom*", "/isOnline", "/queryLoginWx")
LOGINS = ("/secondLogin", "/getIPadLoginInfo")
MEDIA = ("/getMsgImg", "/getMsgFile", "/getMsgVoice", "/getMsgEmoji", "/getMsgVideoRes")
CALLBACK = ("callback",)


def _of_callbacks(explanation: str, unit: str = "") -> FaultKind:
    return FaultKind(explanation=explanation, unit=unit, endpoints=CALLBACK)


KINDS = {
    "slow": FaultKind(explanation="answer later", unit="seconds"),
    "http_401": FaultKind(explanation="HTTP 401, nothing done"),
    "http_429": FaultKind(explanation="HTTP 429, nothing done"),
    "http_500": FaultKind(explanation="HTTP 500, nothing done"),
    "http_503": FaultKind(explanation="HTTP 503, nothing done"),
    "hang": FaultKind(
        explanation="no answer, nothing done; cut after the value, 0 = never", unit="seconds"
    ),
    "cut": FaultKind(explanation="break the connection, nothing done"),
    "html": FaultKind(explanation="an HTML page with status 200, nothing done"),
    "bad_gateway": FaultKind(explanation="sent, then HTTP 502", endpoints=SENDS),
    "sent_but_timeout": FaultKind(
        explanation="sent, then no answer; cut after the value, 0 = never",
        unit="seconds",
        endpoints=SENDS,
    ),
    "sent_but_cut": FaultKind(explanation="sent, then the connection breaks", endpoints=SENDS),
    "throttle": FaultKind(
        explanation="code 1001 for sends beyond the value",
        unit="sends per minute and account",
        endpoints=SENDS,
    ),
    "offline": FaultKind(explanation="code 1001, the account is offline", endpoints=LOGGED_IN),
    "data_null": FaultKind(explanation="done, but data is null"),
    "data_reshaped": FaultKind(explanation="an object comes as a list of one, or out of it"),
    "code_as_number": FaultKind(explanation="the envelope's code is a number"),
    "msg_field": FaultKind(explanation="the envelope's text is in msg"),
    "ids_as_strings": FaultKind(explanation="ids as strings", endpoints=("callback", "/send*")),
    "online_by_code": FaultKind(
        explanation="/isOnline answers by its code alone", endpoints=("/isOnline",)
    ),
    "media_late": FaultKind(
        explanation="code 1001: the gateway does not have it yet",
        endpoints=MEDIA,
    ),
    "no_large_picture": FaultKind(
        explanation="code 1001 for pictures in their large size", endpoints=("/getMsgImg",)
    ),
    "nested_failure": FaultKind(
        explanation="/secondLogin hides a failure in a success", endpoints=("/secondLogin",)
    ),
    "verify_code": FaultKind(
        explanation="the login wants the code that the device shows",
        endpoints=("/getIPadLoginInfo",),
    ),
    "replay": FaultKind(
        explanation="after a login the last messages come again under the new wId",
        unit="messages",
        endpoints=LOGINS,
    ),
    "reason_nested": FaultKind(
        explanation="/offlineReason gives its reason as XML in a text",
        endpoints=("/offlineReason",),
    ),
    "nike_name": FaultKind(
        explanation="members have their name as nikeName", endpoints=("/getChatRoomMember",)
    ),
    "partial_strangers": FaultKind(
        explanation="/getContact shows strangers with few fields", endpoints=("/getContact",)
    ),
    "duplicate": _of_callbacks("callbacks come more than once, at the same time", "further copies"),
    "reorder": _of_callbacks(
        "callbacks come by chance up to the value later, in any order", "seconds"
    ),
    "delay": _of_callbacks("callbacks come later, in order", "seconds"),
    "retry": _of_callbacks(
        "callbacks that were not taken, or not with 2xx, come again later", "further tries"
    ),
    "drop": _of_callbacks("callbacks are lost"),
    "mislabel": _of_callbacks(
        "group messages come as 60001, the type of private texts",
        "0 = the room in fromUser, 1 = fromGroup stays",
    ),
    "native_type": _of_callbacks(
        "callbacks come in the older format: messageType is a small integer"
    ),
    "strings_as_numbers": _of_callbacks(
        "messageType and all else that consists of digits are numbers"
    ),
    "no_atlist": _of_callbacks("atlist is missing"),
    "odd_atlist": _of_callbacks("atlist has another shape", "0 = a text with commas, 1 = atList"),
    "odd_room": _of_callbacks("fromGroup is spelt otherwise", "0 = @chatRoom, 1 = digits alone"),
    "sender_prefix": _of_callbacks("the content of a group message begins with its sender"),
    "no_self": _of_callbacks("self is missing"),
    "no_new_msg_id": _of_callbacks("newMsgId says nothing", "0 = it is missing, 1 = it is 0"),
    "ids_per_account": _of_callbacks(
        "each account in a group gets a newMsgId of its own for one message"
    ),
    "echo": _of_callbacks("own sends come back with self=true"),
}

BEFORE_EFFECT = ("cut", "hang", "http_401", "http_429", "http_500", "http_503", "html")
AFTER_EFFECT = ("bad_gateway", "sent_but_timeout", "sent_but_cut")
STATUS_OF = {
    "http_401": 401,
    "http_429": 429,
    "http_500": 500,
    "http_503": 503,
    "bad_gateway": 502,
}
