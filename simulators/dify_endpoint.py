"""
The three endpoints that take questions, and which kind of app each is for.

Asking or stopping an app of another kind is refused by the codes that the releases' code has.
"""

from enum import StrEnum

from simulators.dify_errors import DifyRefused
from simulators.dify_release import Kind

WRONG_ROUTE = "Please check if your app mode matches the right API route."
UNAVAILABLE = "App unavailable, please check your app configurations."


class Endpoint(StrEnum):
    """Where a question is posted to."""

    CHAT = "/v1/chat-messages"
    COMPLETION = "/v1/completion-messages"
    WORKFLOW = "/v1/workflows/run"

    @property
    def stop_path(self) -> str:
        """Where its runs are stopped; `{task}` stands for the task id."""
        base = "/v1/workflows/tasks" if self is Endpoint.WORKFLOW else self.value
        return f"{base}/{{task}}/stop"

    def admit(self, kind: Kind) -> None:
        """
        Let an app of the right kind in.

        Raises:
            DifyRefused: 400, it is of another kind.
        """
        if self is Endpoint.CHAT:
            only_conversing(kind)
        elif self is Endpoint.WORKFLOW and kind is not Kind.WORKFLOW:
            raise DifyRefused(400, "not_workflow_app", WRONG_ROUTE)
        elif self is Endpoint.COMPLETION and kind is not Kind.COMPLETION:
            raise DifyRefused(400, "app_unavailable", UNAVAILABLE)


def only_conversing(kind: Kind) -> None:
    """
    Let an app with conversations in.

    Raises:
        DifyRefused: 400, it has none.
    """
    if not kind.converses:
        raise DifyRefused(400, "not_chat_app", WRONG_ROUTE)
