"""
What Dify keeps of questions that it was asked: messages, and the runs of chatflows.

``user`` has to be the very text that the question was asked with; for any other a conversation is
as unknown as one that never was. A run is found by its id alone.
"""

import re
from typing import Final
from urllib.parse import quote, urlencode

from app.services.dify.parsing import parse_messages, parse_run
from app.services.dify.side_calls import SideCalls
from app.services.dify.wire import StoredMessage, StoredRun
from app.services.errors import DifyConversationGone, DifyRejected, DifyUnavailable

#: Messages of one look, and how many looks back; what is asked for was asked just now.
PAGE: Final = 10
PAGES: Final = 3
#: From this release on a chatflow runs in a worker of Dify's, and goes on when nobody listens.
_WORKERS_SINCE = (1, 13)
_RELEASE = re.compile(r"(\d+)\.(\d+)")


class DifyRecords:
    """Reads them, of one app."""

    def __init__(self, calls: SideCalls) -> None:
        self._calls = calls

    async def newest(
        self, conversation_id: str, user: str, *, before: str = ""
    ) -> tuple[StoredMessage, ...]:
        """
        The newest messages of a conversation, the oldest of them first; none: no such conversation.

        Args:
            before: those before the message with this id.

        Raises:
            DifyError: Dify could not be asked, or refused.
        """
        wanted = {"conversation_id": conversation_id, "user": user, "limit": str(PAGE)}
        if before:
            wanted["first_id"] = before
        try:
            reply = await self._calls.call(
                "GET", f"/messages?{urlencode(wanted)}", has_conversation=True
            )
        except DifyConversationGone:
            return ()
        return parse_messages(reply.body)

    async def message(
        self, conversation_id: str, message_id: str, user: str
    ) -> StoredMessage | None:
        """
        One message of a conversation; None: it is not among the newest thirty.

        Raises:
            DifyError: as ``newest``.
        """
        before = ""
        for _ in range(PAGES):
            page = await self.newest(conversation_id, user, before=before)
            for message in page:
                if message.message_id == message_id:
                    return message
            if len(page) < PAGE:
                break
            before = page[0].message_id
        return None

    async def run(self, run_id: str, *, output_key: str | None = None) -> StoredRun | None:
        """
        How the run of a chatflow or a workflow stands; None: Dify does not tell.

        Until 1.3.0 it refuses to for any chatflow; of a run that it does not know some releases say
        so, some say nothing, and 1.13.0 fails inside.

        Args:
            output_key: as ``parse_outputs`` has it.

        Raises:
            DifyError: Dify could not be asked.
        """
        try:
            reply = await self._calls.call("GET", f"/workflows/run/{quote(run_id, safe='')}")
        except DifyRejected:
            return None
        except DifyUnavailable as error:
            if error.peer_code:
                return None
            raise
        return parse_run(
            reply.body, goes_on_alone=_runs_in_worker(reply.release), output_key=output_key
        )


def _runs_in_worker(release: str) -> bool:
    """Whether a run outlives its listener; a release that nobody tells is taken for a new one."""
    found = _RELEASE.match(release)
    return found is None or (int(found[1]), int(found[2])) >= _WORKERS_SINCE
