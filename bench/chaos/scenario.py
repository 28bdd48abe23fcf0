"""What a scenario is: its sizes, its place in the issue's table, what it does and what must show."""

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

from bench.chaos.checker import Findings
from bench.chaos.report import Bound, none_of
from bench.chaos.words import question

if TYPE_CHECKING:
    from bench.chaos.stage import Stage

SERVERS, EMBEDDED = "servers", "embedded"
CI, FULL = "ci", "full"
#: Waits of the product that a CI run makes short, and one that it makes long: that a callback is
#: answered in four seconds is no measure of a machine that has other things to do. See
#: ``bench.chaos.planted``.
HASTE = (
    "app.api.callback:BUDGET=25",
    "app.workers.undecided:ECHO_SECONDS=2",
    "app.workers.index_keeper:SWEEP_SECONDS=1",
    "app.workers.index_keeper:TASK_LEASE_SECONDS=2",
    "app.workers.finish_keeper:LOOK_SECONDS=1",
    "app.workers.send_policy:THROTTLED_PAUSE=0.5",
    "app.workers.send_policy:OFFLINE_PAUSE=0.5",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How big a run is; not every scenario uses every figure."""

    messages: int
    users: int
    #: Messages said per second at most.
    rate: float
    #: So many words without an answer make the crowd wait, as does a strike that is due; 0: nothing
    #: does. A machine that is slower than the rate is not what is tried here.
    owing: int = 0
    #: Kills, restarts, failovers or the like.
    strikes: int = 0
    #: Length of an outage, a freeze or a whole run, in seconds.
    seconds: float = 0.0
    #: Enqueues that a failover loses, users beside a busy one, or the like.
    depth: int = 0
    lease: float = 3.0
    retry_delay: float = 1.0
    ecloud_timeout: float = 1.0
    #: Longest wait for the last answer after the last word.
    patience: float = 300.0
    hasten: tuple[str, ...] = ()

    def changed(
        self, *, messages: int | None, strikes: int | None, patience: float | None = None
    ) -> "Size":
        """The same with some figures changed; None: as it is."""
        return replace(
            self,
            patience=self.patience if patience is None else patience,
            messages=self.messages if messages is None else messages,
            strikes=self.strikes if strikes is None else strikes,
        )


def ci_size(**figures: float) -> Size:
    """A size for the test suite: short waits, and room for a machine that is slow."""
    values = {
        "lease": 10.0,
        "retry_delay": 0.2,
        "ecloud_timeout": 3.0,
        "patience": 120.0,
        "owing": 10,
        **figures,
    }
    whole = {
        name: int(value) if name in ("messages", "users", "strikes", "depth", "owing") else value
        for name, value in values.items()
    }
    return Size(hasten=HASTE, **whole)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """What stands on the stage."""

    roles: tuple[str, ...] = ("all", "all")
    #: Further settings of the processes.
    variables: dict[str, str] = field(default_factory=dict)
    #: ``aof``, ``bare`` (nothing on disk) or ``pair``.
    redis: str = "aof"
    #: Which links go through a proxy: callback, dify, second, gateway, redis, mysql.
    links: frozenset[str] = frozenset()
    streaming: bool = False
    #: People of one group.
    people: int = 1


class Scenario(ABC):
    """One row of the table. ``play`` does it; ``bounds`` says what must show."""

    name: ClassVar[str]
    #: What is done, in Chinese, for the table.
    title: ClassVar[str]
    #: What must show, in Chinese, for the table.
    must_show: ClassVar[str]
    ci: ClassVar[Size]
    full: ClassVar[Size]
    engines: ClassVar[tuple[str, ...]] = (SERVERS,)
    #: The planted defect under which it must be red.
    plant: ClassVar[str]
    #: Whether processes end without the fleet's doing.
    kills_by_itself: ClassVar[bool] = False
    #: Whether MariaDB dies or stands still; others cannot use it meanwhile.
    breaks_mariadb: ClassVar[bool] = False
    #: Whether everything is answered in the end.
    settles: ClassVar[bool] = True

    def size(self, name: str) -> Size:
        """The size of that name."""
        return self.ci if name == CI else self.full

    def layout(self, size: Size) -> Layout:
        """What it needs."""
        return Layout()

    def compose(self, word: str, rng: random.Random, layout: Layout) -> str:
        """What a person says; the answer has one part or some."""
        parts = rng.choice((1, 1, 2, 3))
        wait = rng.uniform(0.02, 0.2)
        if layout.streaming:
            orders = f"[[size=60]] [[delay={wait / 2:.2f}]]"
            return question(word, parts=parts, length=220, orders=orders)
        return question(word, parts=parts, length=60, orders=f"[[wait={wait:.2f}]]")

    def schedule(self, stage: "Stage") -> str:
        """What will happen, drawn from the seed; printed before it does."""
        return ""

    async def prepare(self, stage: "Stage") -> None:  # noqa: B027 - most need nothing
        """What has to be there before the processes start."""

    @abstractmethod
    async def play(self, stage: "Stage") -> None:
        """Do it; returns when everything was said and done. What is owed is waited for afterwards."""

    def bounds(self, stage: "Stage", findings: Findings) -> Sequence[Bound]:
        """What must show."""
        return none_of(
            findings, "lost", "answered_twice", "segments_twice", "reordered", "overlapping"
        )
