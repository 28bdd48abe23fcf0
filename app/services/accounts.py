"""
Our WeChat accounts: which ids are ours, and under which wId each is logged in right now.

wId changes with every login, wcId never. The newest wId wins, by the callback's own time and then
by arrival; one that the gateway refused as stale is never taken back.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from loguru import logger
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.account import Account, AccountState
from app.models.flow import Origin, WcId
from app.services.errors import StoreUnavailable
from app.services.presence import Witness, is_offline
from app.services.stages import utc_now
from app.services.standing import (
    WENT_OFFLINE,
    AccountEvent,
    Outage,
    Sign,
    Standing,
    event_between,
    later_standing,
    standing_after,
)
from app.services.store import Store, upsert
from app.utils.loops import first_of, stopped_within

REFRESH_SECONDS = 2.0
CALLBACK = "callback"
QUERY = "query"
#: Most accounts that callbacks alone can make known.
MAX_ACCOUNTS = 1_000
#: An account that only callbacks made known, and none for so long, is not ours any more.
UNHEARD_SECONDS = 30 * 86_400
#: How far the gateway's clock may be ahead of ours.
CLOCK_SECONDS = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Login:
    """One account as it is known now."""

    wc_id: WcId
    w_id: str = ""
    #: Seconds since 1970 of the callback that named the wId.
    w_id_time: int = 0
    source: str = ""
    refused_w_id: str = ""
    #: Name of the gateway login that listed it last; empty: none has yet.
    gateway: str = ""


def not_in_future(time: int) -> int:
    """A callback's time; one from the future would keep every later wId out."""
    return min(time, int(utc_now().timestamp()) + CLOCK_SECONDS)


def newer_login(known: Login | None, named: Login) -> Login | None:
    """What is known after a callback or the gateway named a wId; None: nothing new (pure)."""
    if known is None:
        return named
    is_moved = named.gateway not in ("", known.gateway)
    known = replace(known, gateway=named.gateway) if is_moved else known
    is_refused = not named.w_id or named.w_id == known.refused_w_id
    # The gateway's own list is always right; without a wId in force any is better than none.
    is_certain = named.source == QUERY or known.w_id == ""
    is_older = named.w_id_time < known.w_id_time and not is_certain
    if is_refused or is_older or (named.w_id, named.w_id_time) == (known.w_id, known.w_id_time):
        return known if is_moved else None
    return replace(known, w_id=named.w_id, w_id_time=named.w_id_time, source=named.source)


def refused_login(known: Login, w_id: str) -> Login:
    """What is known after the gateway refused a wId as stale (pure)."""
    current = "" if known.w_id == w_id else known.w_id
    return replace(known, w_id=current, refused_w_id=w_id)


@dataclass(slots=True)
class _News:
    """What this process learnt of one account and SQL does not know yet."""

    named: Login | None = None
    refused: str = ""
    standing: Standing | None = None

    def applied_to(self, known: Login | None) -> Login | None:
        if self.refused and known is not None:
            known = refused_login(known, self.refused)
        if self.named is None:
            return known
        return newer_login(known, self.named) or known


class Accounts:
    """Accounts in memory, kept in step with SQL by ``run``."""

    def __init__(
        self, store: Store, *, listeners: Sequence[Callable[[AccountEvent], None]] = ()
    ) -> None:
        """
        Args:
            listeners: are told which accounts went offline or came back, by the one process that
                wrote it down.
        """
        self._store = store
        self._listeners = (log_event, *listeners)
        self._logins: dict[WcId, Login] = {}
        self._standings: dict[WcId, Standing] = {}
        self._news: dict[WcId, _News] = {}
        self._first_seen: dict[WcId, datetime] = {}
        #: Who says of which account that it is offline, since somebody last said that it is not.
        self._doubts: dict[WcId, frozenset[Witness]] = {}
        #: When this process last had a callback through the account, by its own clock: the gateway's
        #: times may be those of a replayed history.
        self._heard: dict[WcId, float] = {}
        self._changed = asyncio.Event()

    @property
    def own_ids(self) -> frozenset[WcId]:
        """wcIds of all our accounts: what they write is never answered."""
        since = utc_now().timestamp() - UNHEARD_SECONDS
        heard = self._heard
        return frozenset(
            wc_id
            for wc_id, login in self._logins.items()
            if login.source == QUERY or max(login.w_id_time, heard.get(wc_id, 0)) > since
        )

    @property
    def offline_ids(self) -> frozenset[WcId]:
        """wcIds of those that the gateway does not list as online."""
        return frozenset(
            wc_id
            for wc_id, standing in self._standings.items()
            if standing.state is AccountState.OFFLINE
        )

    def login(self, wc_id: WcId) -> Login | None:
        """What is known of one account."""
        return self._logins.get(wc_id)

    def standing(self) -> list[Standing]:
        """Whether each of our accounts can send, and since when; by wcId."""
        return [self.standing_of(wc_id) for wc_id in sorted(self.own_ids)]

    def standing_of(self, wc_id: WcId) -> Standing:
        """Whether one account can send, and since when."""
        known = self._standings.get(wc_id)
        if known is None:
            return Standing(wc_id=wc_id, state=AccountState.UNKNOWN, since=utc_now())
        return known

    def notice(self, wc_id: WcId, sign: Sign) -> None:
        """A sign of one account's standing. Costs nothing unless it changes; SQL hears of it later."""
        if wc_id not in self._logins:
            return
        known = self.standing_of(wc_id)
        standing = standing_after(known, sign, at=utc_now())
        if standing is not known:
            self._stands(wc_id, standing)
            self._news.setdefault(wc_id, _News()).standing = standing

    def _stands(self, wc_id: WcId, standing: Standing) -> None:
        """What was said of an account that came back is over."""
        was = self.standing_of(wc_id).state
        self._standings[wc_id] = standing
        if was is AccountState.OFFLINE and standing.state is AccountState.ONLINE:
            self.believe(wc_id)

    def first_seen(self, wc_id: WcId) -> datetime | None:
        """When this bridge first heard of an account; None: before anybody wrote that down."""
        return self._first_seen.get(wc_id)

    def doubt(self, wc_id: WcId, witness: Witness) -> None:
        """Somebody says that the account is offline; it is when two say so, each in another way."""
        if wc_id not in self._logins:
            return
        witnesses = self._doubts.get(wc_id, frozenset()) | {witness}
        self._doubts[wc_id] = witnesses
        if is_offline(witnesses):
            self.notice(wc_id, Sign.NOT_LISTED)

    def believe(self, wc_id: WcId) -> None:
        """The account is online after all."""
        self._doubts.pop(wc_id, None)

    def doubted(self) -> list[WcId]:
        """Accounts of which somebody says that they are offline, and nobody else does."""
        return [wc_id for wc_id, witnesses in self._doubts.items() if not is_offline(witnesses)]

    def observe(self, origin: Origin) -> None:
        """
        Learn from a callback. Costs nothing unless something is new.

        A new account is learnt only from what proves it: whoever is taken for one of ours is not
        answered any more.
        """
        wc_id = origin.bot_wc_id
        if origin.proves_account or (origin.names_login and wc_id in self._logins):
            former = self._logins.get(wc_id)
            self._learn(wc_id, origin.w_id, origin.timestamp, CALLBACK)
            self._notice_new_login(wc_id, former)
            if wc_id in self._logins:
                self._heard[wc_id] = utc_now().timestamp()

    def _notice_new_login(self, wc_id: WcId, former: Login | None) -> None:
        """An account that was offline and is heard under another wId has logged in again."""
        if former is None or self.standing_of(wc_id).state is not AccountState.OFFLINE:
            return
        if self._logins[wc_id].w_id not in ("", former.w_id):
            self.notice(wc_id, Sign.LISTED)

    def learn(
        self,
        logins: Sequence[tuple[str, str]],
        *,
        time: int,
        gateway: str = "",
        is_only: bool = True,
        tells_standing: bool = True,
    ) -> None:
        """
        Learn from a gateway login's list of (wcId, wId) that are online at *time*.

        Args:
            gateway: the login's name.
            is_only: there is no other login.
            tells_standing: False: only who is ours, and under which wId.
        """
        for wc_id, w_id in logins:
            self._learn(WcId(wc_id), w_id, time, QUERY, gateway)
        if not tells_standing:
            return
        online = {WcId(wc_id) for wc_id, _ in logins}
        for wc_id, login in self._logins.items():
            is_its = is_only if not login.gateway else login.gateway == gateway
            if wc_id in online:
                self.believe(wc_id)
                self.notice(wc_id, Sign.LISTED)
            elif is_its and self.standing_of(wc_id).state is not AccountState.UNKNOWN:
                # Of others it is not known that they are this gateway's; callbacks can be forged.
                self.doubt(wc_id, Witness.LIST)

    def _learn(self, wc_id: WcId, w_id: str, time: int, source: str, gateway: str = "") -> None:
        known = self._logins.get(wc_id)
        if known is None and source != QUERY and len(self._logins) >= MAX_ACCOUNTS:
            # Callbacks can be forged where no token is set; they must not fill the memory.
            logger.warning("accounts.too_many", wc_id=wc_id)
            return
        named = Login(
            wc_id=wc_id,
            w_id=w_id,
            w_id_time=not_in_future(time),
            source=source,
            gateway=gateway,
        )
        login = newer_login(known, named)
        if login is None:
            return
        self._logins[wc_id] = login
        news = self._news.setdefault(wc_id, _News())
        listed_by = named.gateway or (news.named.gateway if news.named is not None else "")
        news.named = replace(named, gateway=listed_by)
        if known is None or (known.w_id, known.gateway) != (w_id, login.gateway):
            # The time of a wId in use moves with every callback; SQL hears of that a little later.
            self._changed.set()

    def refuse(self, wc_id: WcId, w_id: str) -> None:
        """The gateway refused this wId as stale: it is never taken back."""
        login = self._logins.get(wc_id)
        if login is None or login.refused_w_id == w_id:
            return
        self._logins[wc_id] = refused_login(login, w_id)
        news = self._news.setdefault(wc_id, _News())
        news.refused = w_id
        if news.named is not None and news.named.w_id == w_id:
            news.named = None
        self._changed.set()

    async def load(self) -> None:
        """
        Take in what other processes know.

        Raises:
            StoreUnavailable: memory stays as it is.
        """
        async with self._store.read() as connection:
            rows = (await connection.execute(select(Account.__table__))).all()
        for row in rows:
            self._take_in(_login_of(row), _standing_of(row))
            if row.first_seen_at is not None:
                self._first_seen[WcId(row.wc_id)] = row.first_seen_at

    def _take_in(self, saved: Login, standing: Standing) -> None:
        """SQL's word, with what this process learnt since on top."""
        wc_id = saved.wc_id
        news = self._news.get(wc_id, _News())
        login = news.applied_to(saved)
        if login is not None:
            self._logins[wc_id] = login
        self._stands(wc_id, later_standing(standing, news.standing))

    async def save(self) -> None:
        """
        Write what this process learnt, on top of what others wrote meanwhile.

        Raises:
            StoreUnavailable: it is kept for the next time.
        """
        news, self._news = self._news, {}
        try:
            saved = await self._store.transact(lambda connection: _merge(connection, news))
        except StoreUnavailable:
            for wc_id, later in self._news.items():
                earlier = news.setdefault(wc_id, _News())
                earlier.named = _later_named(earlier.named, later.named)
                earlier.refused = later.refused or earlier.refused
                earlier.standing = later.standing or earlier.standing
            self._news = news
            raise
        for change in saved:
            self._take_in(change.login, change.after)
            if (event := event_between(change.before, change.after)) is not None:
                for listener in self._listeners:
                    listener(event)

    async def run(self, stop: asyncio.Event) -> None:
        """Save what is new at once, load what is new elsewhere every two seconds, until stopped."""
        while not stop.is_set():
            await first_of(self._changed, stop, seconds=REFRESH_SECONDS)
            self._changed.clear()
            try:
                if self._news:
                    await self.save()
                await self.load()
            except StoreUnavailable as error:
                logger.debug("accounts.later", error=error)
                await stopped_within(stop, REFRESH_SECONDS / 4)


def _later_named(earlier: Login | None, later: Login | None) -> Login | None:
    """What was named last, and the login that listed the account last."""
    if earlier is None or later is None:
        return later or earlier
    return replace(later, gateway=later.gateway or earlier.gateway)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Change:
    """What was written of one account."""

    login: Login
    before: Standing
    after: Standing


def log_event(event: AccountEvent) -> None:
    """In the log, where an operator looks first."""
    text = "掉线,消息等它恢复" if event.name == WENT_OFFLINE else "已恢复,积压的慢慢发出"
    logger.warning(
        f"{event.name} {text}", bot=event.wc_id, since=event.since.isoformat("T", "seconds")
    )


async def _merge(connection: AsyncConnection, news: Mapping[WcId, _News]) -> list[_Change]:
    merged = []
    for wc_id in sorted(news):
        blank = {
            "wc_id": wc_id,
            "w_id": "",
            "w_id_time": 0,
            "w_id_source": "",
            "refused_w_id": "",
            "gateway": "",
            "state": AccountState.UNKNOWN,
            "since": utc_now(),
            "first_seen_at": utc_now(),
        }
        # Makes the row if it is missing and takes its lock in any case.
        await connection.execute(
            upsert(connection, Account, blank, key=["wc_id"], changes={"wc_id": wc_id})
        )
        found = await connection.execute(select(Account.__table__).where(Account.wc_id == wc_id))
        row = found.one()
        saved = _login_of(row)
        login = news[wc_id].applied_to(saved) or saved
        before = _standing_of(row)
        standing = later_standing(before, news[wc_id].standing)
        began, ended = standing.last_outage or (None, None)
        await connection.execute(
            update(Account)
            .where(Account.wc_id == wc_id)
            .values(
                w_id=login.w_id,
                w_id_time=login.w_id_time,
                w_id_source=login.source,
                refused_w_id=login.refused_w_id,
                gateway=login.gateway,
                state=standing.state,
                since=standing.since,
                outage_began_at=began,
                outage_ended_at=ended,
            )
        )
        merged.append(_Change(login=login, before=before, after=standing))
    return merged


def _login_of(row: Any) -> Login:
    return Login(
        wc_id=WcId(row.wc_id),
        w_id=row.w_id,
        w_id_time=not_in_future(row.w_id_time),
        source=row.w_id_source,
        refused_w_id=row.refused_w_id,
        gateway=row.gateway,
    )


def _standing_of(row: Any) -> Standing:
    began, ended = row.outage_began_at, row.outage_ended_at
    return Standing(
        wc_id=WcId(row.wc_id),
        state=AccountState(row.state),
        since=row.since,
        last_outage=Outage(began, ended) if began is not None and ended is not None else None,
    )
