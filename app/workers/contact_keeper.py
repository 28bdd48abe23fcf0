"""
Looks contacts up at the gateway, in the background, slowly.

It owns its pacing and its connections' time: nothing that answers or sends ever waits for it.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from loguru import logger

from app.models.flow import WcId
from app.services.accounts import Accounts
from app.services.contact_rows import GROUP, pause_after
from app.services.contacts import Contacts, Wanted
from app.services.ecloud.cards import ContactCard
from app.services.ecloud.client import MAX_CONTACTS, EcloudClient
from app.services.ecloud.pacing import LookupPacer
from app.services.errors import (
    EcloudError,
    EcloudRefused,
    EcloudThrottled,
    LeaseLost,
    ServiceError,
    StoreUnavailable,
)
from app.services.gateways import Gateways
from app.services.queue.leases import Leases
from app.utils.clock import Clock
from app.utils.loops import cancelled

T = TypeVar("T")

LOOK_SECONDS = 1.0
LEASE_SECONDS = 60.0
#: Longest rest after answers that could not be kept, or after the gateway said that it is too much.
LONGEST_REST = 600.0
NO_LOGIN = "账号还没有 wId"
NOT_FOUND = "网关没有返回这个联系人"
NOT_KEPT = "查到了,但数据库没有保存"
REFUSED = "查到了,但数据库拒绝保存"


@dataclass(frozen=True, slots=True)
class _Way:
    """How one account is reached."""

    client: EcloudClient
    w_id: str


class ContactKeeper:
    """Turns wanted contacts into known ones."""

    def __init__(
        self,
        *,
        contacts: Contacts,
        accounts: Accounts,
        gateways: Gateways,
        leases: Leases,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._contacts = contacts
        self._accounts = accounts
        self._gateways = gateways
        self._clock = clock
        self._pacer = LookupPacer(rng=rng)
        self._lease = leases.task("contacts", seconds=LEASE_SECONDS)
        #: Looks in a row that were for nothing, and until when none follows.
        self._in_vain = 0
        self._rests_until = float("-inf")

    async def run(self, stop: asyncio.Event) -> None:
        """Look up what is due until stopped; a look-up under way is not waited for."""
        looking = asyncio.create_task(self._look_until_cancelled(), name="contact-look-ups")
        try:
            await self._until(stop, looking)
        finally:
            await cancelled([looking])
            await self._lease.free()

    async def _until(self, stop: asyncio.Event, looking: "asyncio.Task[None]") -> None:
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([stopping, looking], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if looking.done():
            looking.result()

    async def _look_until_cancelled(self) -> None:
        while True:
            try:
                if await self._lease.hold() and self._clock.monotonic() >= self._rests_until:
                    await self._look()
            except ServiceError as error:
                logger.warning("contacts.later", error=error)
            await self._clock.sleep(LOOK_SECONDS)

    async def _look(self) -> None:
        by_account: dict[WcId, list[Wanted]] = defaultdict(list)
        for one in await self._contacts.wanted(limit=MAX_CONTACTS):
            by_account[one.bot_wc_id].append(one)
        try:
            for bot, wanted in by_account.items():
                await self._look_up_for(bot, wanted)
        except (StoreUnavailable, EcloudThrottled):
            # Who is due stays due as long as SQL can be read but not written, and others are due when
            # the gateway has had enough: it must not be asked every second.
            rest = min(pause_after(self._in_vain).total_seconds(), LONGEST_REST)
            self._in_vain += 1
            self._rests_until = self._clock.monotonic() + rest
            raise
        self._in_vain = 0

    async def _look_up_for(self, bot: WcId, wanted: Sequence[Wanted]) -> None:
        way = self._way_of(bot)
        if way is None:
            await self._contacts.postpone(wanted, error=NO_LOGIN)
        else:
            await self._look_up(bot, way, wanted)

    def _way_of(self, bot: WcId) -> _Way | None:
        """How the account is reached now; None: nobody has told."""
        login, client = self._accounts.login(bot), self._gateways.client_of(bot)
        if login is None or not login.w_id or client is None:
            return None
        return _Way(client, login.w_id)

    async def _look_up(self, bot: WcId, way: _Way, wanted: Sequence[Wanted]) -> None:
        """One account's look-ups: all cards in one call, then strangers one by one, then members."""
        try:
            way, found = await self._get_cards(bot, way, wanted)
        except EcloudError as error:
            await self._postpone_for(error, wanted)
            return
        cards = {card.wc_id: card for card in found if card.is_known}
        await self._keep(list(cards.values()), wanted)
        missing = [one for one in wanted if one.wc_id not in cards]
        await self._look_up_strangers(way, missing)
        groups = [one for one in wanted if one.kind == GROUP]
        for group in groups:
            await self._look_up_members(way, group)
        logger.info("contacts.fetched", contacts=len(cards), others=len(missing))

    async def _get_cards(
        self, bot: WcId, way: _Way, wanted: Sequence[Wanted]
    ) -> tuple[_Way, list[ContactCard]]:
        """All cards by one call; once more where it was refused because the wId is stale."""
        ids = [one.wc_id for one in wanted]
        try:
            await self._pace()
            return way, await way.client.get_contacts(way.w_id, ids)
        except EcloudThrottled:
            raise
        except EcloudRefused:
            await self._gateways.ask(bot)
            renewed = self._way_of(bot)
            if renewed is None or renewed == way:
                raise
            if renewed.w_id != way.w_id:
                self._accounts.refuse(bot, way.w_id)
            await self._pace()
            return renewed, await renewed.client.get_contacts(renewed.w_id, ids)

    async def _look_up_strangers(self, way: _Way, missing: Sequence[Wanted]) -> None:
        """One that cannot be looked up holds up no other."""
        for position, one in enumerate(missing):
            card, reason = None, NOT_FOUND
            try:
                if one.kind != GROUP:
                    await self._pace()
                    card = await way.client.get_member_info(way.w_id, one.group_id, one.wc_id)
            except EcloudThrottled as error:
                await self._postpone_for(error, missing[position:])
            except EcloudError as error:
                reason = f"{error.code}: {error}"
            if card is not None and card.wc_id == one.wc_id:
                await self._keep([card], missing[position:])
            else:
                await self._contacts.postpone([one], error=reason)

    async def _look_up_members(self, way: _Way, group: Wanted) -> None:
        """What people are called in this group: needed behind the ``@``."""
        try:
            await self._pace()
            members = await way.client.get_members(way.w_id, group.wc_id)
        except EcloudError as error:
            await self._postpone_for(error, [group])
            return
        await self._kept(self._contacts.save_members(group.wc_id, members), [group])

    async def _postpone_for(self, error: EcloudError, wanted: Sequence[Wanted]) -> None:
        """Later; when the gateway says that it is too much, nobody is looked up for a while."""
        await self._contacts.postpone(wanted, error=f"{error.code}: {error}")
        if isinstance(error, EcloudThrottled):
            raise error

    async def _keep(self, cards: Sequence[ContactCard], wanted: Sequence[Wanted]) -> None:
        refused = await self._kept(self._contacts.save(cards), wanted)
        odd = [one for one in wanted if one.wc_id in refused]
        await self._contacts.postpone(odd, error=REFUSED)

    async def _kept(self, saving: Awaitable[T], wanted: Sequence[Wanted]) -> T:
        """What saving gives; if the store fails, these are not asked for again at once."""
        try:
            return await saving
        except StoreUnavailable:
            await self._contacts.postpone(wanted, error=NOT_KEPT)
            raise

    async def _pace(self) -> None:
        await self._clock.sleep(self._pacer.delay(self._clock.monotonic()))
        # Look-ups may hang for long; nobody else must begin meanwhile.
        if not await self._lease.hold():
            raise LeaseLost("another process looks contacts up")
        self._pacer.asked(self._clock.monotonic())
