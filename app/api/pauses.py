"""What health and metrics show of the pauses: what is paused and since when, not whom."""

from typing import Any, Final

from app.models.pause import PauseKind
from app.runtime import Runtime

#: For the operator, beside the word.
_SENTENCES: Final = {
    PauseKind.TAKING: "操作员暂停了收取:回调照常收下、保存,不处理也不提问",
    PauseKind.SENDING: "操作员暂停了发送:什么也不发到群里,新的问题也不问 Dify",
}


def shown_pauses(runtime: Runtime) -> list[dict[str, Any]]:
    """Of taking and of sending, as this process knows them."""
    return [
        {
            "what": one.kind.value,
            "since": one.began_at.isoformat(timespec="seconds"),
            "reason": _SENTENCES[one.kind],
        }
        for one in runtime.pauses.now().lasting
        if one.kind in _SENTENCES
    ]


def refresh_pauses(runtime: Runtime) -> None:
    """Set the gauges."""
    kinds = [one.kind for one in runtime.pauses.now().lasting]
    for kind in PauseKind:
        runtime.metrics.paused.labels(what=kind.value).set(kinds.count(kind))
