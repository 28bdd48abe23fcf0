"""The three ways of asking a Dify app, and which of them its kind wants. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from app.services.dify.wire import ChatRequest


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """One way of asking: where to, and how the question stands in the body."""

    #: As the setting ``dify.kind`` calls it.
    name: str
    path: str
    stop_path: str
    #: The question is an input of the app, and there are no conversations.
    takes_inputs_only: bool = False

    def body(self, request: ChatRequest, *, streaming: bool, input_key: str) -> bytes:
        """The JSON body; *input_key* names the input that takes the question where it is one."""
        if self.takes_inputs_only:
            return request.to_inputs_body(streaming=streaming, input_key=input_key)
        return request.to_body(streaming=streaming)

    def stop(self, task_id: str) -> str:
        """Where to stop a running answer."""
        return self.stop_path.format(quote(task_id, safe=""))


CHAT: Final = Endpoint(name="chat", path="/chat-messages", stop_path="/chat-messages/{}/stop")
WORKFLOW: Final = Endpoint(
    name="workflow",
    path="/workflows/run",
    stop_path="/workflows/tasks/{}/stop",
    takes_inputs_only=True,
)
COMPLETION: Final = Endpoint(
    name="completion",
    path="/completion-messages",
    stop_path="/completion-messages/{}/stop",
    takes_inputs_only=True,
)
#: In the order in which they are tried: the wrong ones refuse before a model is asked.
ENDPOINTS: Final = (CHAT, WORKFLOW, COMPLETION)
_OF_MODE: Final[Mapping[str, Endpoint]] = {"workflow": WORKFLOW, "completion": COMPLETION}


def endpoints_of(kind: str) -> tuple[Endpoint, ...]:
    """Those that the setting lets be tried: the one it names, or all for ``auto``."""
    return tuple(one for one in ENDPOINTS if one.name == kind) or ENDPOINTS


def endpoint_of_mode(mode: str) -> Endpoint | None:
    """What an app wants that calls its kind *mode*; None: the release does not say."""
    return _OF_MODE.get(mode, CHAT) if mode else None
