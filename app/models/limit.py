"""What the processes tell each other of an app's limit."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class LimitNews:
    """What one process saw of an app since it last told."""

    #: Its places now.
    share: int
    in_use: int
    waiting: int
    #: Most places that it could have used.
    wanted: int
    #: The generation of the limit that what follows is about.
    generation: int
    successes: int = 0
    #: Code of the error that says that it was too much; empty: none.
    trouble: str = ""
    #: Its places were taken for a second.
    is_pressed: bool = False
    #: Those who came last have waited long for a first byte, and still do.
    is_doubtful: bool = False
    #: The pace that the first bytes are of.
    pace: int = 0
    #: Seconds until a first byte: of those who came while there was little to do, and while all was full.
    calm: tuple[float, ...] = ()
    full: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """What one process is told."""

    #: Its places from now on.
    share: int
    #: Of all processes together.
    limit: float
    generation: int
    #: First bytes count of those who come from now on with this number.
    pace: int
    #: Seconds after which a first byte is nearly late; 0: not known yet.
    late: float = 0.0
    #: What these news lowered the limit for; empty: they did not.
    lowered_by: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class LimitLook:
    """The limit of an app at one moment."""

    #: None: no process has told anything.
    limit: float | None
    processes: int
    in_use: int
    #: Claimed, and waiting for a place.
    waiting: int
    #: What it was lowered for last; empty: never.
    cause: str
    #: Seconds since 1970, by the clock of Redis.
    lowered_at: float
