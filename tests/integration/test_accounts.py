"""What processes know of our accounts, and how they share it."""

import asyncio
import time
from datetime import timedelta

import pytest

from app.models.account import Account, AccountState
from app.models.flow import WcId
from app.services.accounts import MAX_ACCOUNTS, UNHEARD_SECONDS, Accounts
from app.services.errors import StoreUnavailable
from app.services.presence import Witness
from app.services.stages import utc_now
from app.services.standing import Sign
from app.services.store import Store
from tests.fixtures.callbacks import BOT, make_origin
from tests.fixtures.stores import StoreFactory, SwitchedStore, rows_of


def w_id_of(accounts: Accounts) -> str:
    """Under which wId the account is logged in as far as this process knows."""
    login = accounts.login(BOT)
    return "" if login is None else login.w_id


def see(accounts: Accounts, w_id: str, at: int) -> None:
    accounts.observe(make_origin(w_id=w_id, timestamp=at))


async def test_an_account_is_known_from_its_first_callback(store: Store) -> None:
    """In memory at once, in SQL with the next save, elsewhere with the next load."""
    here, there, now = Accounts(store), Accounts(store), int(time.time())
    see(here, "w1", now)
    assert here.own_ids == {BOT}
    assert w_id_of(here) == "w1"

    await here.save()
    await there.load()

    assert there.own_ids == {BOT}
    assert w_id_of(there) == "w1"
    [row] = await rows_of(store, Account)
    assert (row.w_id, row.w_id_time, row.w_id_source, row.state) == (
        "w1",
        now,
        "callback",
        "unknown",
    )


async def test_a_callback_that_proves_no_account_makes_none_known(store: Store) -> None:
    """It may be forged or odd: whoever it names is still answered."""
    accounts = Accounts(store)
    accounts.observe(make_origin(proves_account=False))
    accounts.observe(make_origin(proves_account=False, names_login=False))

    assert accounts.own_ids == frozenset()
    assert accounts.login(BOT) is None


async def test_a_message_names_the_login_of_an_account_that_is_known(store: Store) -> None:
    """An image after a login does; an event does not, its login may be over."""
    accounts = Accounts(store)
    see(accounts, "w1", 100)
    accounts.observe(make_origin(w_id="w2", timestamp=200, proves_account=False))
    event = {"proves_account": False, "names_login": False}
    accounts.observe(make_origin(w_id="w0", timestamp=300, **event))

    assert w_id_of(accounts) == "w2"


async def test_an_account_nobody_heard_of_for_a_month_is_not_ours_any_more(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner is a person again; one callback through it, or the gateway's list, brings it back."""
    here, there = Accounts(store), Accounts(store)
    see(here, "w1", int(time.time()))
    here.learn([("wxid_listed", "w9")], time=int(time.time()))
    await here.save()
    await there.load()
    later = utc_now() + timedelta(seconds=UNHEARD_SECONDS + 60)
    monkeypatch.setattr("app.services.accounts.utc_now", lambda: later)

    assert [one.own_ids for one in (here, there)] == [{"wxid_listed"}] * 2
    see(here, "w1", 100)
    there.learn([(BOT, "w1")], time=int(later.timestamp()))
    assert [one.own_ids for one in (here, there)] == [{BOT, "wxid_listed"}] * 2


async def test_of_two_processes_the_newer_wid_wins_whoever_saves_last(
    store_factory: StoreFactory,
) -> None:
    """A process that saw only the old login must not write it over the new one."""
    here, there = Accounts(store_factory()), Accounts(store_factory())
    see(here, "w-new", 500)
    see(there, "w-old", 100)

    await asyncio.gather(here.save(), there.save())
    await asyncio.gather(here.load(), there.load())

    assert (w_id_of(here), w_id_of(there)) == ("w-new", "w-new")


async def test_a_refusal_holds_in_every_process_and_over_restarts(
    store_factory: StoreFactory,
) -> None:
    """One process was told that a wId is stale; another still gets callbacks that name it."""
    store = store_factory()
    here, there = Accounts(store), Accounts(store_factory())
    see(here, "w1", 100)
    see(there, "w1", 120)
    here.refuse(BOT, "w1")
    assert w_id_of(here) == ""

    await here.save()
    await there.save()
    for accounts in (here, there, fresh := Accounts(store)):
        await accounts.load()
        see(accounts, "w1", 900)

    assert [w_id_of(one) for one in (here, there, fresh)] == ["", "", ""]
    see(there, "w2", 130)
    await there.save()
    await here.load()
    assert w_id_of(here) == "w2"


async def test_what_is_learnt_while_sql_is_away_is_written_later(switch: SwitchedStore) -> None:
    """Memory is right at once; nothing is lost, also what comes between the tries."""
    accounts = Accounts(switch)
    switch.is_away = True
    see(accounts, "w1", 100)
    with pytest.raises(StoreUnavailable):
        await accounts.save()
    see(accounts, "w2", 200)
    accounts.refuse(BOT, "w1")
    with pytest.raises(StoreUnavailable):
        await accounts.save()
    switch.is_away = False

    await accounts.save()

    [row] = await rows_of(switch, Account)
    assert (row.w_id, row.refused_w_id) == ("w2", "w1")


async def test_a_load_does_not_undo_what_is_not_saved_yet(store: Store) -> None:
    """SQL still has the old wId; this process knows the new one."""
    accounts = Accounts(store)
    see(accounts, "w1", 100)
    await accounts.save()
    see(accounts, "w2", 200)

    await accounts.load()

    assert w_id_of(accounts) == "w2"


async def test_the_gateways_list_of_logins_is_taken_in(store: Store) -> None:
    """Asked for when a callback has not told it; an older callback does not undo it."""
    accounts = Accounts(store)
    accounts.learn([(BOT, "w1"), ("wxid_other", "w9")], time=500)
    see(accounts, "w0", 400)

    assert w_id_of(accounts) == "w1"
    assert accounts.own_ids == {BOT, "wxid_other"}


async def test_the_loop_saves_at_once_and_ends_when_told(store_factory: StoreFactory) -> None:
    """A new login reaches the other process; a stop ends the loop."""
    here, there = Accounts(store_factory()), Accounts(store_factory())
    stop = asyncio.Event()
    loop = asyncio.create_task(here.run(stop))
    see(here, "w1", 100)

    async with asyncio.timeout(30):
        while not w_id_of(there):
            await there.load()
            await asyncio.sleep(0.01)
        stop.set()
        await loop


async def test_the_loop_outlives_a_database_that_is_away(switch: SwitchedStore) -> None:
    """It goes on, and saves when SQL is back."""
    accounts, stop = Accounts(switch), asyncio.Event()
    switch.is_away = True
    loop = asyncio.create_task(accounts.run(stop))
    see(accounts, "w1", 100)
    await asyncio.sleep(0.05)
    switch.is_away = False

    async with asyncio.timeout(8):
        while not await rows_of(switch, Account):
            await asyncio.sleep(0.05)
        stop.set()
        await loop


async def test_a_time_from_the_future_does_not_keep_the_next_login_out(store: Store) -> None:
    """A forged or broken callback dated 2286 pins nothing: the gateway's list wins."""
    accounts = Accounts(store)
    see(accounts, "w-forged", 9_999_999_999)
    accounts.learn([(BOT, "w-true")], time=200)

    assert w_id_of(accounts) == "w-true"
    await accounts.save()
    again = Accounts(store)
    await again.load()
    assert w_id_of(again) == "w-true"


async def test_callbacks_alone_cannot_make_accounts_without_end(store: Store) -> None:
    """The gateway's own list still can."""
    accounts = Accounts(store)
    for number in range(MAX_ACCOUNTS + 5):
        accounts.observe(make_origin(bot_wc_id=WcId(f"wxid_{number}"), w_id="w", timestamp=1))
    assert len(accounts.own_ids) == MAX_ACCOUNTS

    accounts.learn([("wxid_true", "w")], time=1)

    assert len(accounts.own_ids) == MAX_ACCOUNTS + 1


OTHER = WcId("wxid_other")


def states(accounts: Accounts) -> dict[str, str]:
    """Of all known accounts."""
    return {one.wc_id: one.state for one in accounts.standing()}


async def test_the_gateways_list_tells_who_is_online_and_who_is_not(store: Store) -> None:
    """
    Not having an account is not enough by itself. Since when, too; in SQL with the next save,
    elsewhere with the next load.
    """
    here, there = Accounts(store), Accounts(store)
    before = utc_now()
    here.learn([(BOT, "w1"), (OTHER, "w2")], time=100)
    here.learn([(OTHER, "w2")], time=110)
    here.learn([(OTHER, "w2")], time=111)
    assert states(here) == {BOT: "online", OTHER: "online"}
    here.doubt(BOT, Witness.INSTANCE)
    await here.save()
    await there.load()

    for accounts in (here, there):
        assert states(accounts) == {BOT: "offline", OTHER: "online"}
        assert before <= accounts.standing_of(BOT).since <= utc_now()
    rows = await rows_of(store, Account)
    assert [(row.wc_id, row.state) for row in rows] == [(BOT, "offline"), (OTHER, "online")]
    there.learn([(BOT, "w3"), (OTHER, "w2")], time=120)
    assert states(there) == {BOT: "online", OTHER: "online"}


async def test_an_account_that_only_callbacks_named_is_not_called_offline(store: Store) -> None:
    """They can be forged; whose sender asked for it is."""
    accounts = Accounts(store)
    see(accounts, "w1", 100)
    accounts.learn([(OTHER, "w2")], time=110)
    assert states(accounts) == {BOT: "unknown", OTHER: "online"}

    accounts.notice(BOT, Sign.NOT_LISTED)
    accounts.notice(WcId("wxid_nobody"), Sign.WORKS)
    await accounts.save()

    rows = await rows_of(store, Account)
    assert [(row.wc_id, row.state) for row in rows] == [(BOT, "offline"), (OTHER, "online")]
    # Its callbacks are of 1970: another process does not take it for one of ours.
    there = Accounts(store)
    await there.load()
    assert states(there) == {OTHER: "online"}


async def test_an_account_is_down_since_its_first_failure_over_restarts_and_moves(
    store_factory: StoreFactory, switch: SwitchedStore
) -> None:
    """Whatever follows, in whichever process, and though SQL was away at first."""
    here, there = Accounts(switch), Accounts(store_factory())
    see(here, "w1", 100)
    await here.save()
    switch.is_away = True
    here.notice(BOT, Sign.FAILS)
    since = here.standing_of(BOT).since
    with pytest.raises(StoreUnavailable):
        await here.save()
    switch.is_away = False
    here.notice(BOT, Sign.NOT_LISTED)
    await here.save()
    await there.load()
    there.notice(BOT, Sign.FAILS)
    await there.save()

    fresh = Accounts(store_factory())
    await fresh.load()
    known = fresh.standing_of(BOT)
    assert (known.state, known.is_down, known.since) == (AccountState.OFFLINE, True, since)


async def test_a_sign_that_comes_while_a_save_fails_is_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newer one, of the two that SQL has not heard of."""
    accounts = Accounts(store)
    see(accounts, "w1", 100)
    accounts.notice(BOT, Sign.FAILS)

    async def transact(_: object) -> None:
        accounts.notice(BOT, Sign.WORKS)
        raise StoreUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(store, "transact", transact)
        with pytest.raises(StoreUnavailable):
            await accounts.save()
    await accounts.save()

    [row] = await rows_of(store, Account)
    assert row.state == "online"


async def test_what_is_known_already_writes_nothing(switch: SwitchedStore) -> None:
    """A send a second is no commit a second."""
    accounts = Accounts(switch)
    accounts.learn([(BOT, "w1")], time=100)
    await accounts.save()
    for _ in range(100):
        accounts.notice(BOT, Sign.WORKS)
        accounts.notice(BOT, Sign.LISTED)

    assert accounts._news == {}
    accounts.notice(BOT, Sign.FAILS)
    assert list(accounts._news) == [BOT]


async def test_a_later_word_of_another_process_is_not_overwritten(
    store_factory: StoreFactory,
) -> None:
    """Here it failed an hour ago, and SQL hears of it only now."""
    here, there = Accounts(store_factory()), Accounts(store_factory())
    see(here, "w1", 100)
    await here.save()
    await there.load()
    here.notice(BOT, Sign.FAILS)
    there.notice(BOT, Sign.WORKS)
    await there.save()

    await here.save()

    assert here.standing_of(BOT).state is AccountState.ONLINE
    assert utc_now() - here.standing_of(BOT).since < timedelta(minutes=1)


async def test_a_callback_under_a_new_login_brings_an_offline_account_back(store: Store) -> None:
    """In every process; what was said of the login before is over, and the same login proves nothing."""
    here, there, now = Accounts(store), Accounts(store), int(time.time())
    here.learn([(BOT, "w1")], time=now - 2)
    await here.save()
    await there.load()
    for witness in (Witness.NOTICE, Witness.INSTANCE):
        here.doubt(BOT, witness)
    await here.save()
    await there.load()
    see(there, "w1", now - 1)
    assert states(there) == {BOT: "offline"}

    see(there, "w2", now)
    await there.save()
    await here.load()

    assert states(here) == states(there) == {BOT: "online"}
    here.doubt(BOT, Witness.NOTICE)
    assert (states(here), here.doubted()) == ({BOT: "online"}, [BOT])
