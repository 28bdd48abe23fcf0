"""Contacts are looked up beside the work, slowly, and never in its way."""

import asyncio
import time

from simulators.ecloud import EcloudSimulator
from tests.fixtures.inside import INSIDE_EMBEDDED, Inside, StartInside

pytestmark = INSIDE_EMBEDDED

MING, HONG, WANG = "wxid_xiaoming0a1b21", "wxid_xiaohong0c2d22", "laowang-1975"
GROUP = "40000000001@chatroom"
LOOK_UPS = ("/getContact", "/getChatRoomMember", "/getChatRoomMemberInfo")


def look_ups(gateway: EcloudSimulator) -> list[float]:
    """When the gateway was asked about contacts."""
    return [record.started for record in gateway.recorder.of("request") if record.name in LOOK_UPS]


async def known(bridge: Inside, *wc_ids: str) -> dict[str, dict[str, object]]:
    """Rows of these contacts as soon as all are fetched."""
    names = ", ".join(f"'{wc_id}'" for wc_id in wc_ids)
    fetched = f"SELECT * FROM contacts WHERE wc_id IN ({names}) AND fetched_at IS NOT NULL"
    await bridge.until_rows(f"SELECT 1 WHERE {len(wc_ids)} = (SELECT count(*) FROM ({fetched}))")
    return {str(row["wc_id"]): row for row in await bridge.rows(fetched)}


async def test_a_person_a_group_and_a_stranger_become_known_with_all_their_fields(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """The stranger is not in the address book: only the group knows him."""
    async with inside() as bridge:
        await bridge.hear("一", person="小红")
        await bridge.hear("一", person=WANG)
        rows = await known(bridge, HONG, WANG, GROUP)
        await bridge.until_rows("SELECT 1 WHERE 4 = (SELECT count(*) FROM group_members)")
        members = {
            row["wc_id"]: row["display_name"] or row["nick_name"]
            for row in await bridge.rows("SELECT * FROM group_members")
        }

    hong = rows[HONG]
    assert (hong["nick_name"], hong["remark"], hong["sex"]) == ("小红", "红姐", 2)
    assert (hong["country"], hong["kind"]) == ("CN", "person")
    assert str(hong["small_avatar"]).endswith("/132")
    assert str(hong["big_avatar"]).endswith("/0")
    assert hong["v1"] == f"v1_{HONG}@stranger"
    assert HONG in str(hong["raw"])
    assert (rows[WANG]["nick_name"], rows[WANG]["kind"]) == ("老王", "person")
    assert (rows[GROUP]["nick_name"], rows[GROUP]["kind"]) == ("体验群", "group")
    assert members[WANG] == "老王（财务）"
    gaps = gateway.gaps("/getC*", next(iter(gateway.world.accounts)))
    assert gaps.calls == len(look_ups(gateway)) >= 3
    # 0.8 s where they begin; a busy machine may bring the first of two late.
    assert (gaps.least or 0) >= 0.6
    assert gaps.in_a_minute <= 30


async def test_a_group_without_a_name_is_known_all_the_same(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """Nobody gave it one. It is kept with what there is, and not looked up again."""
    nameless = "60000000001@chatroom"
    gateway.world.add_group(nameless, "", [MING])
    async with inside() as bridge:
        await bridge.hear("一", person=MING, group=nameless)
        rows = await known(bridge, MING, nameless)
        await bridge.until_rows(f"SELECT 1 FROM group_members WHERE group_id = '{nameless}'")

    group = rows[nameless]
    assert (group["nick_name"], group["kind"], group["failures"]) == ("", "group", 0)
    assert (group["error"], group["next_fetch_at"]) == ("", None)
    assert nameless in str(group["raw"])


async def test_many_contacts_are_asked_for_by_twenty_at_most(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """A big group appears at once."""
    people = [f"wxid_crowd{number:02d}" for number in range(30)]
    for person in people:
        gateway.world.add_person(person, person)
    gateway.world.add_group("50000000001@chatroom", "人多", people)
    async with inside() as bridge:
        for person in people:
            await bridge.hear("[[text=好]]", person=person, group="人多")
        await known(bridge, *people)

    asked = [r.facts["body"]["wcId"] for r in gateway.recorder.of("request", "/getContact")]
    assert max(len(ids.split(",")) for ids in asked) <= 20
    assert sorted(",".join(asked).split(",")) == sorted({*people, "50000000001@chatroom"})


async def test_a_gateway_that_has_had_enough_is_asked_nothing_for_a_while(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """Not only those it refused wait: the other ones who are due do, too."""
    people = [f"wxid_crowd{number:02d}" for number in range(30)]
    for person in people:
        gateway.world.add_person(person, person)
    gateway.world.add_group("50000000001@chatroom", "人多", people)
    gateway.faults.set("http_429", endpoints=LOOK_UPS)
    async with inside() as bridge:
        for person in people:
            await bridge.hear("[[text=好]]", person=person, group="人多")
        await bridge.until_rows("SELECT 1 FROM contacts WHERE failures > 0")
        await asyncio.sleep(2.5)
        left = await bridge.rows("SELECT 1 FROM contacts WHERE failures = 0")

    assert len(look_ups(gateway)) == 1
    assert left


async def test_look_ups_that_hang_delay_neither_answers_nor_stopping(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """The gateway says nothing for a minute about contacts; the call's own time-out is long."""
    gateway.faults.set("hang", 60, endpoints=LOOK_UPS)
    async with inside(ECLOUD_TIMEOUT="30") as bridge:
        await bridge.hear("一 [[text=一]]")
        await gateway.recorder.until(lambda: bool(look_ups(gateway)))
        started = time.monotonic()
        await bridge.hear("二 [[text=二]]")
        await bridge.hear("三 [[text=三]]", person="小红")
        await bridge.until_settled(3)
        assert time.monotonic() - started < 15
        stopping = time.monotonic()
    assert time.monotonic() - stopping < 15

    assert len(gateway.sent) == 3


async def test_one_stranger_who_cannot_be_looked_up_holds_up_no_other(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """The friend and the group of the same look are saved; the stranger is tried again later."""
    gateway.faults.set("http_500", endpoints=["/getChatRoomMemberInfo"])
    async with inside() as bridge:
        await bridge.hear("一", person=WANG)
        await bridge.hear("一", person="小明")
        await known(bridge, MING, GROUP)
        [wang] = await bridge.until_rows(
            f"SELECT failures, error FROM contacts WHERE wc_id = '{WANG}' AND failures > 0"
        )
        members = await bridge.until_rows("SELECT wc_id FROM group_members")

    assert (wang["failures"], "ecloud" in str(wang["error"])) == (1, True)
    assert WANG in {member["wc_id"] for member in members}


async def test_an_account_without_a_login_is_asked_nothing(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """Its contacts wait for a wId, which the gateway does not tell us either."""
    async with inside(ECLOUD_AUTHORIZATION="wrong") as bridge:
        await bridge.hear("一", wId="")
        [row] = await bridge.until_rows(
            f"SELECT error FROM contacts WHERE wc_id = '{MING}' AND failures > 0"
        )

    assert "wId" in row["error"]
    assert look_ups(gateway) == []


async def test_a_contact_is_looked_up_again_when_it_is_old_and_seen_again(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """``contacts.max_age``; whoever stays silent is left alone."""
    async with inside(CONTACTS_MAX_AGE="1") as bridge:
        await bridge.hear("一", person=MING)
        await bridge.hear("一", person=HONG)
        await known(bridge, MING, HONG, GROUP)
        for wc_id in (MING, HONG):
            gateway.world.people[wc_id].nick_name = "新名"
        await asyncio.sleep(1.1)
        await bridge.hear("二", person=MING)
        renamed = await bridge.until_rows("SELECT wc_id FROM contacts WHERE nick_name = '新名'")

    assert [row["wc_id"] for row in renamed] == [MING]
