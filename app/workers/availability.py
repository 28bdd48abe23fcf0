"""Whether one account can send: its failures in a row, its pauses, and what they cost its answers."""

from collections.abc import Callable

from loguru import logger

from app.models.account import AccountState
from app.models.flow import WcId
from app.models.pause import PauseKind
from app.services.accounts import Accounts
from app.services.errors import EcloudError, EcloudRefused, EcloudThrottled
from app.services.outbox_table import Planned
from app.services.pauses import Paused
from app.services.stages import utc_now
from app.services.standing import Sign
from app.utils.clock import Clock
from app.workers.account_breaker import Rest
from app.workers.lanes import Lanes
from app.workers.outages import Outages
from app.workers.own_login import OwnLogin
from app.workers.own_pace import OwnPace
from app.workers.schedule import OFFLINE
from app.workers.send_policy import PauseAccount, decide_offline, decide_pause
from app.workers.throttles import Throttles


class Availability:
    """Of one account, as its sender learns it call by call; the account's standing follows."""

    def __init__(
        self,
        bot: WcId,
        *,
        lanes: Lanes,
        login: OwnLogin,
        accounts: Accounts,
        pace: OwnPace,
        clock: Clock,
        paused: Callable[[], Paused],
    ) -> None:
        self._paused = paused
        self._bot = bot
        self._lanes = lanes
        self._login = login
        self._accounts = accounts
        self._pace = pace
        self._clock = clock
        standing = accounts.standing_of(bot)
        down_since = standing.since if standing.is_down else None
        ended = () if standing.last_outage is None else (standing.last_outage,)
        self._outages = Outages(down_since=down_since, now=utc_now(), ended=ended)
        #: Calls in a row that failed for the account's sake, not for one group's, or have no answer.
        self.failures = 0
        #: Which groups alone are told that they are too frequent.
        self.throttles = Throttles()
        #: The account cannot send, whatever is asked of it; None: it can, or is only too fast.
        self.rest: Rest | None = None
        #: The account was not online under this wId, and nothing goes out before the gateway lists it
        #: or another login is known; None: as far as is known it is online.
        self._offline_under: str | None = None
        self._state = AccountState.UNKNOWN

    def waited(self, segment: Planned) -> float:
        """Seconds that a segment waited for its account to come back, and not for an operator."""
        now = utc_now()
        spans = self._paused().spans(now, PauseKind.SENDING)
        return self._outages.waited(segment.planned_at, now, spans)

    def sent(self, group: WcId) -> None:
        """A call into a group went out well."""
        self.failures = 0
        self.throttles.sent(group)
        self.works()

    def works(self) -> None:
        """Nothing is wrong with the account, whatever is with one group."""
        self._is_back()
        self.rest = None
        self._outages.up(utc_now())
        self._accounts.notice(self._bot, Sign.WORKS)

    def rests(self) -> None:
        """It owes nothing any more."""
        self._accounts.notice(self._bot, Sign.RESTS)

    async def w_id(self) -> str:
        """The login instance in force; empty: it cannot be learnt, and the account rests."""
        try:
            if self._offline_under is not None and not await self._is_listed():
                self.pause_offline()
                return ""
            w_id = await self._login.w_id()
        except EcloudError as error:
            self.pause(decide_pause(error, failures=self.failures + 1), code=error.code)
            return ""
        if not w_id:
            self.pause_offline()
        return w_id

    def pause(self, pause: PauseAccount, *, code: str) -> None:
        """Nothing of the account goes out for a while."""
        logger.warning("account.paused", bot=self._bot, seconds=pause.seconds, code=code)
        self.failures += 1
        self._outages.down(utc_now(), seconds=pause.seconds)
        self._accounts.notice(self._bot, Sign.FAILS)
        until = self._clock.monotonic() + pause.seconds
        self._lanes.hold(until=until, code=code)
        if code != EcloudThrottled.code:
            self.rest = Rest(until, code)

    def doubt(self, seconds: float, *, code: str) -> None:
        """A call has no answer: nothing goes out for *seconds*, and not before the gateway answers."""
        self._login.doubt()
        if seconds:
            self.pause(PauseAccount(seconds), code=code)
        else:
            self.failures += 1

    def pause_offline(self) -> None:
        """The gateway does not list the account: it rests for a while, or until it is back."""
        self.pause(decide_offline(self.failures + 1), code=OFFLINE)
        self._accounts.notice(self._bot, Sign.NOT_LISTED)
        self._offline_under = self._login.known_w_id

    def look(self) -> None:
        """What others learnt: the account went offline, or it logged in again and need not rest."""
        state = self._accounts.standing_of(self._bot).state
        went, self._state = state is not self._state, state
        if self._offline_under is None:
            if went and state is AccountState.OFFLINE:
                self._offline_under = self._login.known_w_id
            return
        has_new_login = self._login.known_w_id not in ("", self._offline_under)
        if has_new_login or state is AccountState.ONLINE:
            self._is_back()
            self.rest = None
            self._lanes.release()

    async def _is_listed(self) -> bool:
        """Whether the gateway says that the account is online again: nothing is sent to find out."""
        try:
            is_listed = await self._login.ask()
        except EcloudRefused:
            # Some gateways have no such list.
            is_listed = True
        if is_listed:
            self._is_back()
        return is_listed

    def _is_back(self) -> None:
        if self._offline_under is not None:
            self._offline_under = None
            self._pace.careful()
