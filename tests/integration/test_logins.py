"""Several gateway logins: each account is reached by the one that has it, and by no other."""

import time
from typing import Any

import pytest

from app.models.account import Account, AccountState
from app.models.flow import WcId
from app.services.accounts import Accounts
from app.services.store import Store
from simulators.ecloud import EcloudSimulator
from tests.fixtures.callbacks import BOT, make_origin
from tests.fixtures.inside import INSIDE_EMBEDDED, Inside, StartInside
from tests.fixtures.logins import SECOND_BOT, SECOND_GROUP, SECOND_PERSON, login_variables
from tests.fixtures.sending import hurry, texts
from tests.fixtures.stores import ON_SQLITE, rows_of


@pytest.fixture(autouse=True)
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses of the policy are minutes."""
    hurry(monkeypatch)


def through(bridge: Inside, gateway: EcloudSimulator) -> Inside:
    """The same bridge, hearing what another gateway posts."""
    return Inside(bridge.runtime, bridge.background, gateway, bridge.read_outside)


def refusals(gateway: EcloudSimulator) -> list[str]:
    """Calls that came with an Authorization or a wId which is not this gateway's."""
    outcomes = [record.outcome or "" for record in gateway.recorder.of("request")]
    return [outcome for outcome in outcomes if outcome.startswith("1001")]


async def hear_both(bridge: Inside, second: EcloudSimulator) -> None:
    """One question by each account."""
    await bridge.hear("一 [[text=甲]]")
    await through(bridge, second).hear("二 [[text=乙]]", group=SECOND_GROUP, person=SECOND_PERSON)


@INSIDE_EMBEDDED
async def test_each_account_answers_by_its_own_login(
    inside: StartInside, gateway: EcloudSimulator, second_gateway: EcloudSimulator
) -> None:
    """Answers, names of people and states; no login is asked for what is another's."""
    async with inside(**login_variables(second_gateway)) as bridge:
        await hear_both(bridge, second_gateway)
        await bridge.until_settled(2)
        await bridge.until_rows("SELECT 1 FROM contacts WHERE nick_name = '小张'")
        known = await bridge.rows("SELECT wc_id, gateway FROM accounts ORDER BY gateway")

    assert (texts(gateway), texts(second_gateway)) == (["甲"], ["乙"])
    assert refusals(gateway) == refusals(second_gateway) == []
    assert [row["gateway"] for row in known] == ["default", "second"]
    assert known[1]["wc_id"] == SECOND_BOT


@INSIDE_EMBEDDED
async def test_a_login_is_found_for_an_account_of_which_only_callbacks_are_known(
    inside: StartInside, gateway: EcloudSimulator, second_gateway: EcloudSimulator
) -> None:
    """Both gateways were away at the start: whoever lists the account has it."""
    for one in (gateway, second_gateway):
        one.faults.set("http_503", endpoints=["/queryLoginWx"], times=1)
    async with inside(**login_variables(second_gateway)) as bridge:
        assert bridge.runtime.gateways.client_of(WcId(SECOND_BOT)) is None
        await hear_both(bridge, second_gateway)
        await bridge.until_settled(2)

    assert (texts(gateway), texts(second_gateway)) == (["甲"], ["乙"])
    assert refusals(gateway) == refusals(second_gateway) == []


@INSIDE_EMBEDDED
async def test_own_accounts_are_known_before_the_first_callback(
    inside: StartInside, gateway: EcloudSimulator, second_gateway: EcloudSimulator
) -> None:
    """An account of one login writes in a group of the other's: nobody answers it."""
    gateway.world.add_person(SECOND_BOT, "二号助手")
    next(iter(gateway.world.groups.values())).members[SECOND_BOT] = ""
    async with inside(works=False, **login_variables(second_gateway)) as bridge:
        await bridge.hear("我是另一个助手", person="二号助手")
        [row] = await bridge.rows("SELECT verdict FROM messages")

    assert row["verdict"] == "own_message"


@INSIDE_EMBEDDED
async def test_a_login_that_is_away_leaves_the_other_alone(
    inside: StartInside, gateway: EcloudSimulator, second_gateway: EcloudSimulator
) -> None:
    """Its answers wait; it is called by its name."""
    second_gateway.faults.set("http_503")
    async with inside(**login_variables(second_gateway)) as bridge:
        await hear_both(bridge, second_gateway)
        await bridge.until_settled(1)
        failed = (await bridge.runtime.gateways.query_all()).values()
        assert texts(gateway) == ["甲"]
        second_gateway.faults.clear()
        await bridge.until_settled(2)

    assert [str(error).split()[0] for error in failed] == ["second"]
    assert texts(second_gateway) == ["乙"]


@INSIDE_EMBEDDED
async def test_look_ups_go_on_under_a_new_login(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """The wId that is known is stale: it is asked for, and the look-up is tried again at once."""
    async with inside(DIFY_BASE_URL="", DIFY_API_KEY="") as bridge:
        await bridge.hear("nobody answers, so that no sender learns of the new login")
        gateway.rotate()
        # Put off it would be half a minute.
        await bridge.until_rows("SELECT 1 FROM contacts WHERE nick_name = '小明'", seconds=20)
        [row] = await bridge.rows("SELECT failures FROM contacts WHERE nick_name = '小明'")

    assert row["failures"] == 0


def learnt(accounts: Accounts, gateway: str, *online: Any) -> None:
    accounts.learn(
        [(wc_id, f"w-{gateway}") for wc_id in online],
        time=int(time.time()),
        gateway=gateway,
        is_only=False,
    )


def login_of(accounts: Accounts, wc_id: WcId = BOT) -> str:
    login = accounts.login(wc_id)
    return "" if login is None else login.gateway


@ON_SQLITE
async def test_a_list_says_nothing_about_accounts_of_other_logins(store: Store) -> None:
    """One that is missing in its own list is doubted; one of no known login is not."""
    accounts, other, heard = Accounts(store), WcId("wxid_other"), WcId("wxid_heard")
    accounts.observe(make_origin(bot_wc_id=heard))
    learnt(accounts, "a", BOT)
    learnt(accounts, "b", other)
    learnt(accounts, "a")

    assert accounts.doubted() == [BOT]
    assert accounts.standing_of(other).state is AccountState.ONLINE
    assert accounts.standing_of(heard).state is AccountState.UNKNOWN


async def test_the_login_of_an_account_is_kept_and_follows_it(store: Store) -> None:
    """Callbacks do not make it forgotten; a process with old knowledge does not write it back."""
    here, there = Accounts(store), Accounts(store)
    learnt(here, "a", BOT)
    await here.save()
    await there.load()
    learnt(here, "b", BOT)
    here.observe(make_origin(w_id="w-b", timestamp=int(time.time()) + 5))
    await here.save()
    there.observe(make_origin(w_id="w-b", timestamp=int(time.time()) + 9))
    await there.save()
    await there.load()

    assert (login_of(here), login_of(there)) == ("b", "b")
    [row] = await rows_of(store, Account)
    assert (row.gateway, row.w_id) == ("b", "w-b")
