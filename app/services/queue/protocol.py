"""What the rest of the bridge needs of the queue; ``redis_queue.RedisQueue`` keeps it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from app.models.flow import Claim, MessageId, WcId


class Enqueued(StrEnum):
    """What became of one message given to the queue."""

    ADDED = "added"
    #: It is in the queue, or was: the ``seen`` key exists.
    SEEN = "seen"
    #: The user's bound is reached; nothing was changed.
    USER_FULL = "user_full"
    #: The bound over all users is reached; nothing was changed.
    ALL_FULL = "all_full"
    #: No epoch: the index is being rebuilt from SQL and will pick the row up.
    REBUILDING = "rebuilding"
    #: The queue failed over this one alone; the row is in SQL, the sweep tries again.
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One message for the queue."""

    user: WcId
    message_id: MessageId
    bot_wc_id: WcId
    dedupe_key: str
    #: Crash counters to restore after a wipe; 0 for a new message.
    crashes: int = 0
    sole_crashes: int = 0
    #: Failed tries to restore likewise.
    attempts: int = 0
    #: It had been given up and goes on: what the queue still counts of it is void.
    is_replayed: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Claims:
    """What one look at the queue gave."""

    claims: tuple[Claim, ...]
    #: Seconds until the next retry is due or the next lease ends; None: nothing is in sight.
    next_due: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueFigures:
    """The queue at one moment."""

    #: Messages in all user queues, those in work included.
    waiting: int
    #: Users ready or waiting for their retry.
    ready_users: int
    #: Users with a lease.
    leased_users: int
    #: Users who wait for a peer to be well again.
    parked_users: int


class MessageQueue(Protocol):
    """
    FIFO per user, side by side and fair between users, with leases.

    Every method raises ``QueueUnavailable`` when Redis cannot be reached in time.
    """

    async def enqueue(
        self,
        entries: Sequence[Entry],
        *,
        user_bound: int,
        all_bound: int,
        trusts_seen: bool = True,
    ) -> list[Enqueued]:
        """
        Append messages in the given order, one script each in one round trip.

        Args:
            user_bound: most messages of one user; 0 = no bound (recovery of accepted ones).
            all_bound: most messages in all; 0 = no bound.
            trusts_seen: a ``seen`` key with another id makes the message a duplicate. False where SQL
                has already said that it is new: SQL decides.
        """
        ...

    async def restore(self, entries: Sequence[Entry]) -> list[Enqueued]:
        """
        Append accepted messages that are missing; works without an epoch, knows no bounds.

        What the list knows already is skipped, but the counters of a replayed one are cleared if it is
        the head and its user's first one here. The counters are taken over where the message becomes
        the head; one with crashes is due after a random delay. Whose message is named first stands
        first in line.
        """
        ...

    async def depths(self, users: Sequence[WcId]) -> list[int]:
        """How many messages of each of these users the lists have."""
        ...

    async def rewrite(self, user: WcId, token: str, message_ids: Sequence[MessageId]) -> bool:
        """
        Under the lease, put these ids in this order in front of the user's list, then give the
        lease back without a counted try; False: the lease is not ours.

        Ids of the list that are not named follow behind in their order, since they may have
        arrived after the caller looked. The counters stay if the head stays the same.
        """
        ...

    async def forget(self, user: WcId, message_id: MessageId, bot: WcId, dedupe_key: str) -> None:
        """Take one message out that turned out to be a duplicate; its ``seen`` key goes with it if
        it names this id.

        A lease on it stays until its end; its ack is refused, a retry lets the next message go."""
        ...

    async def claim(self, *, limit: int, may_take_suspect: bool) -> Claims:
        """
        Take the heads of up to *limit* users who are due, longest waiting user first.

        Leases that ran out are given back first, within the same script: their message counts
        one crash and comes back after a random delay. A message with two or more crashes is given
        only if *may_take_suspect*, and at most one of them per call.
        """
        ...

    async def wait(self, timeout: float) -> None:  # noqa: ASYNC109 - returns, never raises, at its end
        """Block until something may be due, at most *timeout* seconds; a cancellation may need a
        second to be noticed."""
        ...

    async def heartbeat(self, claims: Sequence[Claim]) -> list[Claim]:
        """
        Renew all leases in one call; returns those that are lost.

        A lease that ran out (Redis was away, the worker hung) and that nobody has taken since is
        taken back, and its crash uncounted. One that was given back, deleted by hand or wiped is not.
        """
        ...

    async def ack(self, claim: Claim) -> bool:
        """Remove the head and free the user; False: not our lease, or not the head: nothing changed."""
        ...

    async def retry(self, claim: Claim, *, delay: float, counts: bool) -> bool:
        """Give the lease back; the head stays and is due after *delay* seconds. *counts*: as a failed
        try. False: not our lease."""
        ...

    async def park(self, claim: Claim, peer: str, *, counts: bool = False) -> bool:
        """Give the lease back; the user waits until *peer* is well, behind all who are parked for it
        already. *counts*: as a failed try. False: not our lease."""
        ...

    async def unpark(self, peer: str, most: int) -> int:
        """Let up to *most* users go on who were parked for *peer*, the first parked first; how many."""
        ...

    async def parked_peers(self) -> dict[str, int]:
        """How many users are parked, by peer."""
        ...

    async def raise_fence(self, at_least: int) -> None:
        """Make every later claim's fence greater than *at_least* (a clock went back)."""
        ...

    async def epoch(self) -> str | None:
        """The index's epoch; None: Redis was wiped (or is new) and must be rebuilt.

        The server's replication id is kept beside it where it tells one: a changed one (restart,
        failover) gives None, too."""
        ...

    async def begin_rebuild(self, owner: str, *, seconds: float) -> bool:
        """Take the rebuild lock for so long and close the queue: from now on there is no epoch.
        The owner may call again to have it longer. False: somebody else has it."""
        ...

    async def leave_rebuild(self, owner: str) -> None:
        """Free the lock without an epoch: whoever comes next begins anew."""
        ...

    async def finish_rebuild(self, owner: str, epoch: str) -> bool:
        """Set the epoch, free the lock; from now on messages are taken and claimed. False: the lock
        was lost, nothing changed."""
        ...

    async def heal(self) -> int:
        """Delete those of the keys shared by all users that are of a type that is not ours (a
        hand-made SET); returns how many. A repair then finds again who stood in them."""
        ...

    async def repair(self) -> int:
        """Make the ready set hold every user with waiting messages who has no lease and is not
        parked (also after a hand-made RPUSH), delete what stands in the place of a list, and recount the total; returns
        how many users were put back."""
        ...

    async def figures(self) -> QueueFigures:
        """Counts for health and metrics."""
        ...

    async def ping(self) -> None:
        """One round trip."""
        ...
