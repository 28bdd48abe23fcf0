"""When an account could not send, as far as its sender saw it (pure; times are aware datetimes)."""

from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from app.utils.periods import Period, merged, overlap

#: Older outages are forgotten: an answer that outlived so many has waited for other reasons.
REMEMBERED = 100
#: Of an outage from before this sender nobody knows whether it lasts: answers of the last seconds
#: have not waited.
JUST_NOW = timedelta(seconds=10)
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Outages:
    """
    Outages of one account.

    Of what came before its sender only that is known which its standing says. So a restart does
    not make old answers young, and a first failure does not make a backlog old.
    """

    def __init__(
        self,
        *,
        down_since: datetime | None = None,
        now: datetime = _LONG_AGO,
        ended: Iterable[Period] = (),
    ) -> None:
        """
        Args:
            down_since: since when the account is down already; None: it is not, or nobody knows.
            now: the present, if it is down.
            ended: what is over, as (begin, end).
        """
        self._ended: deque[Period] = deque(ended, maxlen=REMEMBERED)
        self._since = down_since
        #: The end of the last pause: nobody tried later than that yet.
        self._until = _LONG_AGO if down_since is None else now - JUST_NOW

    def down(self, now: datetime, *, seconds: float) -> None:
        """The account cannot send now and is not tried again for *seconds*."""
        if self._since is None:
            self._since = now
        self._until = now + timedelta(seconds=seconds)

    def up(self, now: datetime) -> None:
        """The account can send now."""
        if self._since is not None:
            # A success may come long after the pause, when there is something to send again.
            self._ended.append((self._since, min(self._until, now)))
            self._since = None

    def waited(self, since: datetime, now: datetime, paused: Iterable[Period] = ()) -> float:
        """
        Seconds between *since* and *now* in which the account was down.

        Args:
            paused: when an operator had sending paused, without overlaps: that is nobody's outage.
        """
        lasting = [(self._since, self._until)] if self._since is not None else []
        periods = [*self._ended, *lasting]
        clipped = [(max(begin, since), min(end, now)) for begin, end in periods]
        downs = merged((begin, end) for begin, end in clipped if begin < end)
        return overlap(downs, [(since, now)]) - overlap(downs, paused)
