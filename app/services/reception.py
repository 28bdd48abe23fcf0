"""
The use case: take one callback in.

Parse, decide, make durable. What the gateway hears depends on one thing only: is it durable, or
does it need no work?
"""

import asyncio

from loguru import logger

from app.models.content import Recall, RoomNews
from app.models.flow import (
    Accepted,
    Decision,
    Duplicate,
    GroupMessage,
    Ignored,
    IgnoreReason,
    Left,
    Origin,
    Question,
    Receipt,
    Refused,
    Trigger,
    TurnedAway,
    Unrecorded,
)
from app.services.accounts import Accounts
from app.services.contact_rows import Seen
from app.services.contacts import Contacts
from app.services.decide import choice_of, decide, decide_file, decide_voice
from app.services.ecloud.callback import is_offline_notice, parse_callback
from app.services.errors import StoreUnavailable
from app.services.forms import Forms
from app.services.groups import Groups
from app.services.inbox import Inbox
from app.services.metrics import Metrics
from app.services.queue.offline_notices import OfflineNotices
from app.services.recalls import Recalls
from app.services.refusal_log import RefusalLog
from app.services.room_news import RoomNewsBook
from app.services.suggestions import Suggestions
from app.utils.clock import Clock

#: Seconds for everything, the arrival of the body included; the gateway gives up after 6.
BUDGET = 4.0
#: For a look at what the person who speaks was offered.
LOOK_SECONDS = 0.5


class Reception:
    """Takes callbacks in and counts each under exactly one verdict."""

    def __init__(
        self,
        *,
        inbox: Inbox,
        accounts: Accounts,
        groups: Groups,
        contacts: Contacts,
        room_news: RoomNewsBook,
        recalls: Recalls,
        notices: OfflineNotices,
        suggestions: Suggestions,
        forms: Forms,
        metrics: Metrics,
        clock: Clock,
        keeps_files: bool = False,
        hears_voices: bool = False,
        window: float = 0.0,
    ) -> None:
        """
        Args:
            keeps_files: what somebody sends waits for that person's next question.
            hears_voices: some app takes what somebody speaks for a question.
            window: seconds that a message's own time may be away from now; 0: any.
        """
        self._keeps_files = keeps_files
        self._hears_voices = hears_voices
        self._window = window
        self._inbox = inbox
        self._accounts = accounts
        self._groups = groups
        self._contacts = contacts
        self._room_news = room_news
        self._recalls = recalls
        self._notices = notices
        self._suggestions = suggestions
        self._forms = forms
        self._metrics = metrics
        self._clock = clock
        self.refusal_log = RefusalLog(clock)

    async def take(
        self, raw: bytes, *, seconds: float = BUDGET
    ) -> Receipt | Unrecorded | TurnedAway:
        """
        Take one callback.

        Args:
            seconds: what is left of the budget.

        Raises:
            StoreUnavailable: nothing durable could take in time what has to be answered.
        """
        ends_at = self._clock.monotonic() + seconds
        parsed = parse_callback(raw)
        if self._is_untimely(parsed):
            self._metrics.callbacks.labels(verdict="wrong_time").inc()
            return TurnedAway()
        decision = await self._decide(parsed)
        receipt = await self._accept(decision, raw, ends_at - self._clock.monotonic())
        if isinstance(decision, Ignored):
            self._take_news(decision)
        return receipt

    async def take_too_large(
        self, beginning: bytes, *, seconds: float = BUDGET
    ) -> Receipt | Unrecorded:
        """Keep the beginning of a body that passed the bound."""
        ignored = Ignored(origin=Origin(), reason=IgnoreReason.TOO_LARGE)
        return await self._accept(ignored, beginning, seconds)

    def _is_untimely(self, parsed: GroupMessage | Ignored) -> bool:
        """A question without a time counts as one of another time: whoever forges it leaves it out."""
        time = parsed.origin.timestamp
        return 0 < self._window < abs(self._clock.time() - time) and (bool(time) or _says(parsed))

    async def _decide(self, parsed: GroupMessage | Ignored) -> Decision:
        self._accounts.observe(parsed.origin)
        if is_offline_notice(parsed.origin):
            self._pass_on(parsed.origin)
        origin = parsed.origin
        own, now = self._accounts.own_ids, self._clock.time()
        if not isinstance(parsed, GroupMessage):
            rules = self._groups.settings(origin.bot_wc_id, origin.group_id).rules
            if parsed.voice is not None and self._hears_voices:
                self._groups.note(origin.bot_wc_id, origin.group_id)
                return decide_voice(parsed, parsed.voice, rules, own_accounts=own, now=now)
            if parsed.file is not None and self._keeps_files:
                return decide_file(parsed, rules, own_accounts=own, now=now)
            return parsed
        self._groups.note(origin.bot_wc_id, origin.group_id)
        settings = self._groups.settings(origin.bot_wc_id, origin.group_id)
        # Only a bare number may mean what was offered: nothing else waits for a look. Where every
        # text is a question, a form needs none: the worker finds it.
        is_wanted = settings.suggests or settings.rules.trigger is not Trigger.ALL
        may_choose = is_wanted and choice_of(parsed, settings.rules) is not None
        offered, is_awaited = await self._offered(origin) if may_choose else ((), False)
        return decide(
            parsed,
            settings.rules,
            own_accounts=own,
            now=now,
            offered=offered,
            is_awaited=is_awaited,
            offline=self._accounts.offline_ids,
        )

    def _take_news(self, ignored: Ignored) -> None:
        """What there is to do beside answering; after the question it may be about is on its way."""
        if isinstance(ignored.content, Recall):
            self._recalls.note(ignored.origin, ignored.content)
        elif isinstance(ignored.content, RoomNews):
            self._room_news.note(ignored.origin, ignored.content)

    def _pass_on(self, origin: Origin) -> None:
        """A notice about a login that is over says nothing of the account."""
        login = self._accounts.login(origin.bot_wc_id)
        if login is not None and origin.w_id in ("", login.w_id):
            self._notices.give(origin.bot_wc_id)

    async def _offered(self, origin: Origin) -> tuple[tuple[str, ...], bool]:
        """
        What the person may choose from, and whether a form waits for him; nothing where that cannot
        be told in time.
        """
        looking = asyncio.create_task(self._look(origin))
        # Not awaited any longer: a driver that waits for a dead server cannot be interrupted.
        done, _ = await asyncio.wait({looking}, timeout=LOOK_SECONDS)
        if not done:
            looking.cancel()
        try:
            return looking.result() if done else ((), False)
        except StoreUnavailable as error:
            logger.warning("suggestions.unknown", error=error)
            return (), False

    async def _look(self, origin: Origin) -> tuple[tuple[str, ...], bool]:
        is_awaited = await self._forms.pends(origin)
        return (() if is_awaited else await self._suggestions.in_force(origin)), is_awaited

    async def _accept(self, decision: Decision, raw: bytes, seconds: float) -> Receipt | Unrecorded:
        try:
            receipt = await self._inbox.accept(decision, raw, seconds=seconds)
        except StoreUnavailable as error:
            if isinstance(decision, Ignored):
                return self._leave_unrecorded(decision.reason, error)
            self._metrics.callbacks.labels(verdict="unavailable").inc()
            raise
        verdict = verdict_of(decision, receipt)
        self._metrics.callbacks.labels(verdict=verdict).inc()
        if isinstance(receipt, Refused):
            self.refusal_log.note(receipt)
            return receipt
        kind = type(receipt).__name__.lower()
        logger.info(f"callback.{kind}", message_id=receipt.message_id, verdict=verdict)
        if isinstance(decision, Question) and isinstance(receipt, Accepted):
            origin = decision.message.origin
            self._contacts.note(Seen(origin.bot_wc_id, origin.group_id, origin.from_user))
        return receipt

    def _leave_unrecorded(self, reason: IgnoreReason, error: StoreUnavailable) -> Unrecorded:
        """Nothing is owed for it: refusing it would only make the gateway think that we are ill."""
        self._metrics.callbacks.labels(verdict=reason).inc()
        self._metrics.unrecorded.labels(verdict=reason).inc()
        logger.warning("callback.unrecorded", verdict=reason, error=error)
        return Unrecorded(reason=reason)


def _says(parsed: GroupMessage | Ignored) -> bool:
    """Whether it may have anything to do with a question (pure)."""
    return isinstance(parsed, GroupMessage) or bool(parsed.file or parsed.voice)


def verdict_of(decision: Decision, receipt: Receipt) -> str:
    """The one word under which a callback is counted (pure)."""
    if isinstance(receipt, Duplicate):
        return "duplicate"
    if isinstance(receipt, Refused):
        return receipt.reason
    if isinstance(receipt, Left):
        return IgnoreReason.OTHER_ACCOUNT
    return "accepted" if isinstance(decision, Question) else decision.reason
