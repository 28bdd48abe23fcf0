"""Every name the queue has in Redis. The first two are the README's and never change."""

from dataclasses import dataclass
from typing import Final

from app.models.flow import WcId

#: Most tokens the wake list holds; more would only wake workers for nothing.
WAKE_TOKENS: Final = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Keys:
    """
    Names of the keys, each with *namespace* in front.

    Empty in production. Tests take one of their own; ``{ecloud}`` puts all keys into one slot of
    a Redis Cluster.
    """

    namespace: str = ""

    @property
    def queue_prefix(self) -> str:
        """What stands before the user in the names of the lists."""
        return f"{self.namespace}ecloud_queue:"

    @property
    def processing_prefix(self) -> str:
        """What stands before the user in the names of the leases."""
        return f"{self.namespace}ecloud_processing:"

    def queue(self, user: WcId) -> str:
        """LIST of message ids in decimal; the first is in work or next."""
        return f"{self.queue_prefix}{user}"

    def processing(self, user: WcId) -> str:
        """STRING ``<fence>:<worker>:<message id>``, gone when the lease is over."""
        return f"{self.processing_prefix}{user}"

    @property
    def ready(self) -> str:
        """ZSET user → ms since 1970 from which the head may be claimed."""
        return f"{self.namespace}ecloud:ready"

    @property
    def suspects(self) -> str:
        """ZSET like ``ready``, of users whose head brought two workers or more down."""
        return f"{self.namespace}ecloud:suspects"

    @property
    def leases(self) -> str:
        """ZSET user → ms since 1970 at which the lease is over."""
        return f"{self.namespace}ecloud:leases"

    @property
    def parked_peers(self) -> str:
        """SET of peers for whom somebody is parked."""
        return f"{self.namespace}ecloud:parked"

    def parked(self, peer: str) -> str:
        """ZSET user → ms since 1970 since when the user waits for *peer* to be well again."""
        return f"{self.parked_peers}:{peer}"

    @property
    def breakers(self) -> str:
        """SET of peers of which failures are noted; with ``:<peer>`` behind it the HASH of one."""
        return f"{self.namespace}ecloud:breaker"

    def limit(self, app: str) -> str:
        """HASH of what all processes know of how much *app* takes, and of what each of them has."""
        return f"{self.namespace}ecloud:limit:{app}"

    @property
    def restarts(self) -> str:
        """HASH process → JSON of what it waits for a restart to have."""
        return f"{self.namespace}ecloud:restarts"

    @property
    def spilling(self) -> str:
        """ZSET of processes whose spill files have something that SQL does not know yet."""
        return f"{self.namespace}ecloud:spilling"

    @property
    def attempts(self) -> str:
        """HASH user → failed tries of the head."""
        return f"{self.namespace}ecloud:attempts"

    @property
    def crashes(self) -> str:
        """HASH user → leases of the head that ran out."""
        return f"{self.namespace}ecloud:crashes"

    @property
    def sole_crashes(self) -> str:
        """HASH user → those of them in which the head was the only suspect of its process."""
        return f"{self.namespace}ecloud:sole_crashes"

    @property
    def waiting(self) -> str:
        """STRING count of the elements of all lists."""
        return f"{self.namespace}ecloud:waiting"

    @property
    def wake(self) -> str:
        """LIST of tokens that end a worker's wait."""
        return f"{self.namespace}ecloud:wake"

    @property
    def epoch(self) -> str:
        """STRING ``<replication id or nothing>|<epoch>``; missing: the index must be rebuilt."""
        return f"{self.namespace}ecloud:epoch"

    @property
    def rebuild(self) -> str:
        """STRING owner of the rebuild lock."""
        return f"{self.namespace}ecloud:rebuild"

    @property
    def fence(self) -> str:
        """STRING greatest fence given so far, in µs since 1970."""
        return f"{self.namespace}ecloud:fence"

    @property
    def trial(self) -> str:
        """STRING that is written to see whether writes are taken; gone after a second."""
        return f"{self.namespace}ecloud:trial"

    def seen(self, bot: WcId, dedupe_key: str) -> str:
        """STRING id of the message that was enqueued for this key; goes after a day."""
        return f"{self.namespace}ecloud:seen:{bot}:{dedupe_key}"

    def outbox(self, bot: WcId) -> str:
        """LIST of tokens that wake the account's sender."""
        return f"{self.namespace}ecloud:outbox:{bot}"

    def sender(self, bot: WcId) -> str:
        """STRING token of the process that sends for the account."""
        return f"{self.namespace}ecloud:sender:{bot}"

    def pace(self, bot: WcId) -> str:
        """ZSET call → seconds since 1970, of what the account sent in the last minutes."""
        return f"{self.namespace}ecloud:pace:{bot}"

    def slowdown(self, bot: WcId) -> str:
        """STRING ``<level>:<seconds since 1970>``, gone when the account has recovered."""
        return f"{self.namespace}ecloud:slowdown:{bot}"

    def sending(self, bot: WcId) -> str:
        """STRING what the account's sender does now, gone soon after it does not say so any more."""
        return f"{self.namespace}ecloud:sending:{bot}"

    @property
    def doubted(self) -> str:
        """SET of accounts of which a callback said that they are offline."""
        return f"{self.namespace}ecloud:doubted"

    def task(self, name: str) -> str:
        """STRING token of the process that does one periodic task."""
        return f"{self.namespace}ecloud:task:{name}"

    def alerts(self, name: str) -> str:
        """STRING JSON of what the operator was told: of everything, or of one host."""
        return f"{self.namespace}ecloud:alerts:{name}"

    def login(self, kind: str, digest: str) -> str:
        """STRING how often somebody tried to log in to the console of late; goes by itself."""
        return f"{self.namespace}ecloud:login:{kind}:{digest}"

    def replay(self, job_id: str) -> str:
        """HASH how far a replay is that was started in the console; goes after an hour."""
        return f"{self.namespace}ecloud:replay:{job_id}"

    @property
    def refresh(self) -> str:
        """STRING JSON of the last refresh of contacts that was started in the console; goes after a day."""
        return f"{self.namespace}ecloud:refresh"

    def shared(self) -> tuple[str, ...]:
        """The first KEYS of every script, in the order of ``scripts/common.lua``."""
        return (
            self.ready,
            self.suspects,
            self.leases,
            self.attempts,
            self.crashes,
            self.sole_crashes,
            self.waiting,
            self.wake,
            self.epoch,
            self.fence,
            self.parked_peers,
        )
