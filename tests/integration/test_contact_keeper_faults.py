"""What the gateway told cannot be kept: the loop goes on, and asks no more often for it."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from typing_extensions import override

from app.models.contact import Contact, GroupMember
from app.models.flow import WcId
from app.services.accounts import Accounts
from app.services.contact_rows import Seen
from app.services.contacts import Contacts
from app.services.ecloud.cards import CardKind, ContactCard, MemberCard
from app.services.errors import EcloudRefused, StoreUnavailable
from app.services.queue.leases import Leases
from app.services.store import Store
from app.utils.embedded_redis import EmbeddedRedis
from app.utils.redis_client import close_redis
from app.workers.contact_keeper import LONGEST_REST, ContactKeeper
from tests.fixtures.callbacks import BOT, USER, W_ID, make_origin
from tests.fixtures.callbacks import GROUP as ROOM
from tests.fixtures.stores import SwitchedStore, rows_of

DAY = timedelta(days=1)


class QuickClock:
    """A clock whose sleeps take no time; it stops the loop at ``ends_at``."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.ends_at = self.now
        self.stop = asyncio.Event()

    def time(self) -> float:
        """As ``Clock``."""
        return self.now

    def monotonic(self) -> float:
        """As ``Clock``."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """As ``Clock``."""
        self.now += seconds
        if self.now >= self.ends_at:
            self.stop.set()
            await asyncio.Event().wait()


class FakeGateway:
    """Knows everybody; remembers when it was asked."""

    def __init__(self, clock: QuickClock) -> None:
        self._clock = clock
        self.asked: list[float] = []
        self.asked_for_members = 0
        #: More of a person's card.
        self.person: dict[str, Any] = {"nick_name": "阿蓝"}
        #: The login that has the account; this one refuses until it is asked which.
        self.moves_to: FakeGateway | None = None
        self._has_told = False

    def client_of(self, _bot: WcId) -> "FakeGateway":
        """As ``Gateways``."""
        return self.moves_to if self.moves_to is not None and self._has_told else self

    async def ask(self, _bot: WcId) -> bool:
        """As ``Gateways``."""
        self._has_told = True
        return True

    async def get_contacts(self, _w_id: str, wc_ids: Sequence[WcId]) -> list[ContactCard]:
        """As ``EcloudClient``."""
        if self.moves_to is not None:
            raise EcloudRefused("not of this login")
        self.asked.append(self._clock.now)
        return [
            ContactCard(wc_id=one, kind=CardKind.PERSON, **self.person)
            if one == USER
            else ContactCard(wc_id=one, kind=CardKind.GROUP, user_name=one)
            for one in wc_ids
        ]

    async def get_members(self, _w_id: str, group: WcId) -> list[MemberCard]:
        """As ``EcloudClient``."""
        self.asked_for_members += 1
        return [MemberCard(group_id=group, wc_id=USER)]


class Forgetful(Contacts):
    """Cannot keep what it is told of contacts, or of members; all else it writes."""

    def __init__(self, store: Store, *, forgets: str) -> None:
        super().__init__(store, max_age=DAY)
        self._forgets = forgets

    @override
    async def save(self, cards: Sequence[ContactCard]) -> frozenset[WcId]:
        if self._forgets == "cards":
            raise StoreUnavailable("database: disk full")
        return await super().save(cards)

    @override
    async def save_members(self, group: WcId, members: Sequence[MemberCard]) -> None:
        if self._forgets == "members":
            raise StoreUnavailable("database: disk full")
        await super().save_members(group, members)


class Stage:
    """A keeper with its clock and a gateway."""

    def __init__(self, store: Store, contacts: Contacts, redis: Any) -> None:
        self.clock = QuickClock()
        self.gateway = FakeGateway(self.clock)
        self._contacts = contacts
        accounts = self.accounts = Accounts(store)
        accounts.observe(make_origin(bot_wc_id=BOT, w_id=W_ID))
        self._keeper = ContactKeeper(
            contacts=contacts,
            accounts=accounts,
            gateways=self.gateway,  # type: ignore[arg-type]
            leases=Leases(redis, holder="here", clock=self.clock),
            clock=self.clock,
            rng=random.Random(7),
        )

    async def see(self) -> None:
        """The person writes in the group."""
        self._contacts.note(Seen(BOT, ROOM, USER))
        await self._contacts.flush()

    async def run(self, seconds: float) -> None:
        """Let the loop go on for so long."""
        self.clock.stop.clear()
        self.clock.ends_at = self.clock.now + seconds
        await self._keeper.run(self.clock.stop)


@pytest.fixture
async def redis() -> AsyncIterator[Any]:
    """Where the lease lies."""
    client = EmbeddedRedis().client()
    yield client
    await close_redis(client)


async def row_of(store: Store, wc_id: str) -> Any:
    return next(row for row in await rows_of(store, Contact) if row.wc_id == wc_id)


async def test_a_database_that_can_only_be_read_costs_the_account_few_look_ups(
    switch: SwitchedStore, redis: Any
) -> None:
    """A full disk, a replica: nothing can be put off in SQL either, so the loop itself rests."""
    stage = Stage(switch, Contacts(switch, max_age=DAY), redis)
    await stage.see()
    switch.is_read_only = True

    await stage.run(2400)

    pauses = [later - earlier for earlier, later in pairwise(stage.gateway.asked)]
    assert [round(pause / 30) for pause in pauses] == [1, 2, 4, 8, 16, 20, 20]
    switch.is_read_only = False
    await stage.run(LONGEST_REST)
    assert (await row_of(switch, USER)).nick_name == "阿蓝"
    assert len(await rows_of(switch, GroupMember)) == 1


@pytest.mark.parametrize(("forgets", "whom"), [("cards", USER), ("cards", ROOM), ("members", ROOM)])
async def test_what_could_not_be_kept_is_asked_for_again_after_a_pause_only(
    store: Store, redis: Any, forgets: str, whom: WcId
) -> None:
    """The row says why."""
    stage = Stage(store, Forgetful(store, forgets=forgets), redis)
    await stage.see()

    await stage.run(120)

    assert len(stage.gateway.asked) == 1
    assert stage.gateway.asked_for_members == (1 if forgets == "members" else 0)
    row = await row_of(store, whom)
    assert (row.failures, row.error) == (1, "查到了,但数据库没有保存")
    assert row.next_fetch_at > datetime.now(UTC)


async def test_a_card_that_the_database_refuses_is_put_off_and_the_loop_goes_on(
    store: Store, redis: Any
) -> None:
    """The group of the same look is kept, and its members, too."""
    stage = Stage(store, Contacts(store, max_age=DAY), redis)
    stage.gateway.person = {"nick_name": "阿蓝", "sex": 2**70}
    await stage.see()

    await stage.run(120)

    assert len(stage.gateway.asked) == 1
    person, group = await row_of(store, USER), await row_of(store, ROOM)
    assert (person.failures, person.error) == (1, "查到了,但数据库拒绝保存")
    assert (group.failures, group.next_fetch_at) == (0, None)
    assert group.fetched_at is not None
    assert len(await rows_of(store, GroupMember)) == 1


async def test_a_wid_that_is_in_force_by_another_login_is_not_refused(
    store: Store, redis: Any
) -> None:
    """The account moved to another gateway login, under the same wId: it goes on by that."""
    stage = Stage(store, Contacts(store, max_age=DAY), redis)
    moved = FakeGateway(stage.clock)
    stage.gateway.moves_to = moved
    await stage.see()

    await stage.run(60)

    login = stage.accounts.login(BOT)
    assert login is not None
    assert (login.w_id, login.refused_w_id) == (W_ID, "")
    assert moved.asked
