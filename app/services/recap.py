"""What was said before, told to Dify once more where it has forgotten the conversation."""

from collections.abc import Sequence
from dataclasses import dataclass

from loguru import logger

from app.models.flow import Turn
from app.services.conversations import PastTurn, recent_turns
from app.services.errors import StoreUnavailable
from app.services.store import Store

#: Longest recap, in characters, and the longest part of it that one question or answer has.
MAX_RECAP = 4000
MAX_WORDS = 1000


@dataclass(frozen=True, slots=True)
class Recap:
    """
    Puts the last turns of a person in a group in front of a question.

    Args:
        turns: so many at most; 0: the question alone.
    """

    store: Store
    turns: int

    async def question(self, turn: Turn) -> str:
        """What a new conversation is asked; without the past where it cannot be had."""
        if not self.turns:
            return turn.question
        try:
            async with self.store.read() as connection:
                past = await recent_turns(connection, turn, limit=self.turns)
        except StoreUnavailable as error:
            logger.warning("dify.without_recap", error=error)
            return turn.question
        return with_past(turn.question, past)


def with_past(question: str, past: Sequence[PastTurn]) -> str:
    """
    The question behind what was said before it (pure).

    Args:
        past: the oldest first; what is too long for a recap falls out at its beginning.
    """
    told: list[str] = []
    room = MAX_RECAP
    for one in reversed(past):
        words = f"问:{_short(one.question)}\n答:{_short(one.answer)}"
        room -= len(words)
        if room < 0:
            break
        told.insert(0, words)
    if not told:
        return question
    return "\n".join(["(此前的对话,供参考)", *told, "", "(现在的问题)", question])


def _short(words: str) -> str:
    return words if len(words) <= MAX_WORDS else words[: MAX_WORDS - 1] + "…"
