"""Brings accepted messages back into the lists: many users in one script, none of which takes long."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from app.models.flow import WcId
from app.services.queue.protocol import Enqueued, Entry
from app.services.queue.scripts import ScriptRunner, Wire
from app.utils.batches import batches

#: Users and messages of one script.
USERS_AT_ONCE: Final = 50
MESSAGES_AT_ONCE: Final = 500
#: Elements of lists that one script may look at; one list is always looked at whole.
LOOKS_AT_ONCE: Final = 10_000


@dataclass(frozen=True, slots=True)
class _Share:
    """Some messages of one user, with their places among all that are brought back."""

    user: WcId
    entries: Sequence[tuple[int, Entry]]

    def arguments(self, delay_of: Callable[[Entry], int]) -> list[Wire]:
        """As ``restore.lua`` reads them."""
        first = self.entries[0][1]
        counts = (first.crashes, first.sole_crashes, first.attempts)
        ids = [entry.message_id for _, entry in self.entries]
        is_replayed = int(first.is_replayed)
        return [self.user, *counts, delay_of(first), is_replayed, len(ids), *ids]


async def restore(
    scripts: ScriptRunner, entries: Sequence[Entry], delay_of: Callable[[Entry], int]
) -> tuple[list[Enqueued], int]:
    """
    See ``MessageQueue.restore``; with it, how many keys of another type were deleted.

    Args:
        delay_of: milliseconds until a message is due that becomes its user's first one.
    """
    results = [Enqueued.SEEN] * len(entries)
    deleted = 0
    waiting = deque(_shares(entries))
    while waiting:
        some = list(_first_of(waiting))
        odd, *added = await scripts.run(
            "restore",
            LOOKS_AT_ONCE,
            *(part for share in some for part in share.arguments(delay_of)),
        )
        deleted += odd
        places = (place for share in some for place, _ in share.entries)
        for place, is_added in zip(places, added, strict=False):
            if is_added:
                results[place] = Enqueued.ADDED
        done = len(added)
        while done:
            done -= len(waiting.popleft().entries)
    return results, deleted


def _shares(entries: Sequence[Entry]) -> Iterator[_Share]:
    """By user, in the order in which users are named first."""
    by_user: dict[WcId, list[tuple[int, Entry]]] = {}
    for place, entry in enumerate(entries):
        by_user.setdefault(entry.user, []).append((place, entry))
    for user, own in by_user.items():
        for some in batches(own, MESSAGES_AT_ONCE):
            yield _Share(user, some)


def _first_of(waiting: Iterable[_Share]) -> Iterator[_Share]:
    """As many as fit into one script; at least one."""
    messages = 0
    for number, share in enumerate(waiting):
        messages += len(share.entries)
        if number == USERS_AT_ONCE or (number and messages > MESSAGES_AT_ONCE):
            return
        yield share
