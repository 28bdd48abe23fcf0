"""Whether an account is offline, as several who say so agree (pure)."""

from collections.abc import Set as AbstractSet
from enum import Enum, auto
from typing import Final

#: So many must say so, each in another way: one of them alone is often late or means another login.
AGREEING: Final = 2


class Witness(Enum):
    """Who says that an account is offline."""

    #: The gateway's callback; it may repeat itself, and mean a login that is over.
    NOTICE = auto()
    #: The list of who is online does not have the account.
    LIST = auto()
    #: Asked about the login, the gateway says that it is not online.
    INSTANCE = auto()
    #: Asked why the account is offline, the gateway gives a reason.
    REASON = auto()


def is_offline(witnesses: AbstractSet[Witness]) -> bool:
    """Whether enough of them agree."""
    return len(witnesses) >= AGREEING
