"""Whether an account can send, and since when, as far as anybody noticed (pure)."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, auto
from typing import NamedTuple

from app.models.account import DOWN_STATES, AccountState
from app.models.flow import WcId

WENT_OFFLINE = "account.offline"
CAME_ONLINE = "account.online"


class Sign(Enum):
    """What tells of an account's standing."""

    #: A call was carried out for it, or refused although it is online.
    WORKS = auto()
    #: The gateway lists it as online.
    LISTED = auto()
    #: The gateway's list does not have it.
    NOT_LISTED = auto()
    #: Calls for it fail in a way that is not one group's.
    FAILS = auto()
    #: Nothing is owed any more: nobody tries it.
    RESTS = auto()


class Outage(NamedTuple):
    """A time in which an account could not send, and which is over."""

    began: datetime
    ended: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """Of one account."""

    wc_id: WcId
    state: AccountState
    #: When the state began; for one that is down: when it stopped being able to send.
    since: datetime
    #: What was over last; a sender that starts later still knows why its answers waited.
    last_outage: Outage | None = None

    @property
    def is_down(self) -> bool:
        """Whether it is known to be unable to send."""
        return self.state in DOWN_STATES


def standing_after(known: Standing, sign: Sign, *, at: datetime) -> Standing:
    """
    What is known after a sign.

    Being listed ends no failing: a throttled account is listed, too. One that is down stays down
    since the same moment, whatever the reason is called.
    """
    state = _state_after(known.state, sign)
    if state is known.state:
        return known
    if known.is_down and state in DOWN_STATES:
        return replace(known, state=state)
    is_over = known.is_down and state is AccountState.ONLINE
    outage = Outage(known.since, at) if is_over else known.last_outage
    return replace(known, state=state, since=at, last_outage=outage)


def _state_after(known: AccountState, sign: Sign) -> AccountState:
    match sign:
        case Sign.WORKS:
            return AccountState.ONLINE
        case Sign.LISTED if known is not AccountState.FAILING:
            return AccountState.ONLINE
        case Sign.NOT_LISTED:
            return AccountState.OFFLINE
        case Sign.FAILS if known is not AccountState.OFFLINE:
            return AccountState.FAILING
        case Sign.RESTS if known is AccountState.FAILING:
            return AccountState.UNKNOWN
        case _:
            return known


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountEvent:
    """An account went offline or came back: what an operator is told of, once for all processes."""

    #: ``account.offline`` or ``account.online``.
    name: str
    wc_id: WcId
    #: When it stopped being able to send.
    since: datetime


def event_between(before: Standing, after: Standing) -> AccountEvent | None:
    """What there is to tell of a change that was written down."""
    was, is_now = before.state is AccountState.OFFLINE, after.state is AccountState.OFFLINE
    if is_now and not was:
        return AccountEvent(name=WENT_OFFLINE, wc_id=after.wc_id, since=after.since)
    if was and after.state is AccountState.ONLINE:
        return AccountEvent(name=CAME_ONLINE, wc_id=after.wc_id, since=before.since)
    return None


def later_standing(saved: Standing, learnt: Standing | None) -> Standing:
    """What holds when a process that learnt something finds what others wrote."""
    if learnt is None:
        return saved
    is_saved_later = saved.state is not AccountState.UNKNOWN and saved.since > learnt.since
    return saved if is_saved_later else learnt
