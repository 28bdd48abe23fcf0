"""After an answer: what Dify suggests to ask next goes behind it. Nobody waits for that."""

import asyncio

from loguru import logger

from app.models.flow import Answer, Turn
from app.services.dify.client import DifyClient
from app.services.errors import DifyError, ServiceError, code_of, loggable
from app.services.outbox import Outbox
from app.services.suggestions import Suggestions, shown_suggestions
from app.services.text import is_blank

#: For everything that is asked of Dify about one answer, in seconds.
SUGGEST_SECONDS = 3.0


class Suggesting:
    """
    Fetches the questions of answers that are planned, and plans their lists.

    Args:
        max_length: most characters of a list.
    """

    def __init__(
        self, *, dify: DifyClient, suggestions: Suggestions, outbox: Outbox, max_length: int
    ) -> None:
        self._dify = dify
        self._suggestions = suggestions
        self._outbox = outbox
        self._max_length = max_length
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, turn: Turn, answer: Answer) -> None:
        """The answer is planned; nothing where the group wants no list or there is none to be had."""
        if not turn.suggests or not answer.dify_message_id or answer.form is not None:
            return
        if answer.is_cut_short or is_blank(answer.text):
            return
        task = asyncio.create_task(self._suggest(turn, answer.dify_message_id), name="suggest")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def end(self) -> None:
        """Wait for those that are on their way."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _suggest(self, turn: Turn, message_id: str) -> None:
        try:
            async with asyncio.timeout(SUGGEST_SECONDS):
                questions = await self._ask(turn, message_id)
            shown = shown_suggestions(questions, limit=self._max_length)
            if shown and await self._suggestions.offer(turn, shown):
                logger.info("dify.suggested", questions=len(shown))
                await self._outbox.ring(turn.bot_wc_id)
        except (ServiceError, TimeoutError) as error:
            reason = loggable(error) if isinstance(error, DifyError) else ""
            logger.warning("dify.not_suggested", code=code_of(error), error=reason)
        except Exception as error:  # noqa: BLE001 - the answer is out; a fault of ours costs the list only
            logger.opt(exception=error).error("dify.not_suggested", code=code_of(error))

    async def _ask(self, turn: Turn, message_id: str) -> tuple[str, ...]:
        parameters = self._dify.traits.parameters or await self._dify.parameters()
        if not parameters.suggests:
            return ()
        return await self._dify.suggested(message_id, turn.user)
