"""Each fault of the simulated gateway does what it says, where and as often as it was told."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from simulators.ecloud_world import World
from tests.simulators.calling import BOT, GROUP, MING, WANG, calling

#: Every path that sends, with what it needs besides wId and wcId.
SENDS = {
    "/sendText": {"content": "x"},
    "/sendImage": {"content": "http://pictures.example/1.png"},
    "/sendImage2": {"content": "http://pictures.example/1.png"},
    "/sendFile": {"path": "http://files.example/1.pdf", "fileName": "1.pdf"},
}


@pytest.mark.parametrize(
    ("fault", "status"),
    [("http_401", 401), ("http_429", 429), ("http_500", 500), ("http_503", 503)],
)
async def test_status_fault_answers_so_and_sends_nothing(fault: str, status: int) -> None:
    """The HTTP status comes, the group gets nothing, the next call works."""
    async with calling() as caller:
        caller.gateway.faults.set(fault, times=1)
        got, _ = await caller.raw("/sendText", wId=caller.w_id, wcId=GROUP, content="x")
        nothing = caller.gateway.sent
        after = await caller.send()

    assert (got, nothing, after["code"]) == (status, [], "1000")


@pytest.mark.parametrize(("fault", "sent"), [("cut", 0), ("sent_but_cut", 1)])
async def test_cut_breaks_the_connection_before_or_after_sending(fault: str, sent: int) -> None:
    """The client sees the same; only the group knows the difference."""
    async with calling() as caller:
        caller.gateway.faults.set(fault)
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await caller.send()

        assert len(caller.gateway.sent) == sent
        assert caller.gateway.recorder.of("request")[0].outcome == fault


@pytest.mark.parametrize(("fault", "sent"), [("hang", 0), ("sent_but_timeout", 1)])
async def test_hang_gives_no_answer_before_or_after_sending(fault: str, sent: int) -> None:
    """The client waits in vain; the recorder notes the fault and that the client left."""
    async with calling() as caller:
        caller.gateway.faults.set(fault)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await caller.send()
        record = caller.gateway.recorder.of("request")[0]
        await caller.gateway.recorder.until(lambda: record.outcome is not None)

        assert len(caller.gateway.sent) == sent
        assert (record.outcome, record.facts["fault"]) == ("client_left", fault)


async def test_hang_with_a_value_is_cut_after_it() -> None:
    """The connection breaks after so many seconds."""
    async with calling() as caller:
        caller.gateway.faults.set("sent_but_timeout", 0.1)
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await caller.send()

        assert len(caller.gateway.sent) == 1


async def test_bad_gateway_comes_after_sending() -> None:
    """HTTP 502, and yet the group has the message."""
    async with calling() as caller:
        caller.gateway.faults.set("bad_gateway", times=1)
        status, _ = await caller.raw("/sendText", wId=caller.w_id, wcId=GROUP, content="x")

        assert (status, len(caller.gateway.sent)) == (502, 1)


async def test_slow_strikes_only_the_named_endpoints() -> None:
    """Contact look-ups hang while sends go through at once."""
    async with calling() as caller:
        caller.gateway.faults.set("slow", 60, endpoints=["/getContact", "/getChatRoom*"])
        lookup = asyncio.create_task(caller.raw("/getContact", wId=caller.w_id, wcId=MING))
        await caller.gateway.recorder.until(
            lambda: bool(caller.gateway.recorder.of("request", "/getContact"))
        )
        envelope = await caller.send()
        unanswered = not lookup.done()
        lookup.cancel()

    assert (envelope["code"], unanswered) == ("1000", True)


async def test_throttle_refuses_beyond_its_number_per_minute() -> None:
    """Two sends pass, the third gets the sentence and is not sent; look-ups are free."""
    async with calling() as caller:
        caller.gateway.faults.set("throttle", 2)
        codes = [(await caller.send())["code"] for _ in range(2)]
        refused = await caller.send()
        lookup = await caller.call("/getContact", wId=caller.w_id, wcId=MING)

    assert (codes, refused["code"], lookup["code"]) == (["1000", "1000"], "1001", "1000")
    assert "频率" in refused["message"]
    assert len(caller.gateway.sent) == 2


@pytest.mark.parametrize("path", SENDS)
async def test_fault_of_one_send_endpoint_strikes_that_one_alone(path: str) -> None:
    """The request's path decides, not what was sent: /sendImage2 is not /sendImage."""
    async with calling() as caller:
        caller.gateway.faults.set("throttle", 0, endpoints=[path], times=1)
        caller.gateway.faults.set("ids_as_strings", endpoints=[path], times=1)
        first, second = [
            {
                one: await caller.call(one, wId=caller.w_id, wcId=GROUP, **body)
                for one, body in SENDS.items()
            }
            for _ in range(2)
        ]

    assert {one for one, envelope in first.items() if envelope["code"] == "1001"} == {path}
    assert {one for one, envelope in second.items() if _has_text_ids(envelope)} == {path}


def _has_text_ids(envelope: dict[str, Any]) -> bool:
    return isinstance(envelope["data"]["newMsgId"], str)


async def test_offline_fault_refuses_sends_and_shows_in_the_state() -> None:
    """While it is on the account is offline to every path; then it is back with the same wId."""
    async with calling() as caller:
        caller.gateway.faults.set("offline")
        send = await caller.send()
        online = await caller.call("/queryLoginWx")
        state = await caller.call("/isOnline", wId=caller.w_id)
        caller.gateway.faults.clear("offline")
        after = await caller.send()

    assert (send["code"], online["data"], state["data"]) == ("1001", [], {"isOnline": False})
    assert after["code"] == "1000"


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("data_null", lambda envelope: envelope["data"] is None and envelope["code"] == "1000"),
        ("code_as_number", lambda envelope: envelope["code"] == 1000),
        ("msg_field", lambda envelope: "msg" in envelope and "message" not in envelope),
        ("ids_as_strings", lambda envelope: isinstance(envelope["data"]["newMsgId"], str)),
    ],
)
async def test_odd_envelope_still_means_sent(fault: str, check: Any) -> None:
    """The shapes a tolerant client must take; the message is out all the same."""
    async with calling() as caller:
        caller.gateway.faults.set(fault)
        envelope = await caller.send()

    assert check(envelope)
    assert len(caller.gateway.sent) == 1


async def test_html_page_instead_of_json() -> None:
    """Status 200 and no JSON."""
    async with calling() as caller:
        caller.gateway.faults.set("html")
        status, text = await caller.raw("/queryLoginWx")

    assert (status, text.startswith("<html>")) == (200, True)


async def test_duplicates_come_as_often_as_told() -> None:
    """Two further copies: three callbacks of one message with the same bytes."""
    async with calling() as caller:
        caller.gateway.faults.set("duplicate", 2, times=1)
        caller.gateway.say(GROUP, MING, "甲")
        caller.gateway.say(GROUP, MING, "乙")
        await caller.gateway.courier.idle()

    assert caller.receiver.texts == ["甲", "甲", "甲", "乙"]
    assert len(set(caller.receiver.raw)) == 2


async def test_reordered_callbacks_all_arrive_in_another_order() -> None:
    """Nothing is lost, but the order of saying is gone."""
    said = [f"{number}" for number in range(20)]
    async with calling(seed=4) as caller:
        caller.gateway.faults.set("reorder", 0.3)
        for text in said:
            caller.gateway.say(GROUP, MING, text)
        await caller.gateway.courier.idle()

    assert sorted(caller.receiver.texts, key=int) == said
    assert caller.receiver.texts != said


async def test_delayed_callbacks_come_later_in_order() -> None:
    """Each comes so much later, the order stays, the delays do not add up."""
    async with calling() as caller:
        loop = asyncio.get_running_loop()
        caller.gateway.faults.set("delay", 0.4)
        started = loop.time()
        for text in "甲乙丙丁":
            caller.gateway.say(GROUP, MING, text)
        await caller.gateway.courier.idle()
        seconds = loop.time() - started

    assert caller.receiver.texts == list("甲乙丙丁")
    assert 0.4 <= seconds < 1.6


async def test_dropped_callback_never_arrives_but_is_recorded() -> None:
    """A lost callback stands in the log as not delivered."""
    async with calling() as caller:
        caller.gateway.faults.set("drop", times=1)
        caller.gateway.say(GROUP, MING, "甲")
        caller.gateway.say(GROUP, MING, "乙")
        await caller.gateway.courier.idle()
        outcomes = [record.outcome for record in caller.gateway.recorder.of("callback")]

    assert (caller.receiver.texts, outcomes) == (["乙"], ["not_delivered", "http_200"])


@pytest.mark.parametrize(
    ("fault", "value", "expected"),
    [
        ("mislabel", 0, {"messageType": "60001", "fromUser": GROUP, "fromGroup": None}),
        ("mislabel", 1, {"messageType": "60001", "fromUser": MING, "fromGroup": GROUP}),
        ("native_type", 0, {"messageType": 9, "fromUser": MING, "fromGroup": GROUP}),
        ("no_atlist", 0, {"messageType": "80001", "atlist": None}),
        ("ids_as_strings", 0, {"messageType": "80001", "self": "false"}),
    ],
)
async def test_disguised_callback(fault: str, value: float, expected: dict[str, Any]) -> None:
    """The wrong shapes the real gateway was seen with."""
    async with calling() as caller:
        caller.gateway.faults.set(fault, value)
        said = caller.gateway.say(GROUP, MING, "问", mention_bot=True)
        await caller.gateway.courier.idle()
        body = caller.receiver.bodies[0]

    flat = {"messageType": body["messageType"], **body["data"]}
    assert {name: flat.get(name) for name in expected} == expected
    assert str(flat["newMsgId"]) == str(said.new_msg_id)


async def test_only_group_messages_are_mislabelled() -> None:
    """An offline notice stays one, and uses up no strike."""
    async with calling() as caller:
        caller.gateway.faults.set("mislabel", times=1)
        caller.gateway.set_online(None, online=False)
        caller.gateway.set_online(None, online=True)
        caller.gateway.say(GROUP, MING, "问")
        await caller.gateway.courier.idle()

    types = [body["messageType"] for body in caller.receiver.bodies]
    assert sorted(types) == ["30000", "60001"]


async def test_echo_of_own_sends_is_off_until_switched_on() -> None:
    """Switched on, a send comes back with self=true and the same newMsgId."""
    async with calling() as caller:
        await caller.send("没有回声")
        caller.gateway.faults.set("echo")
        data = (await caller.send("有回声"))["data"]
        await caller.gateway.courier.idle()
        bodies = caller.receiver.bodies

    assert [body["data"]["content"] for body in bodies] == ["有回声"]
    echo = bodies[0]["data"]
    assert (echo["self"], echo["fromUser"], echo["toUser"]) == (True, BOT, GROUP)
    assert echo["newMsgId"] == data["newMsgId"]


async def test_faults_are_set_shown_and_cleared_over_http() -> None:
    """One order may seed, clear and set several; a wrong part refuses the whole."""
    async with calling() as caller:
        url = f"{caller.gateway.url}/_sim/faults"

        async def order(**body: Any) -> tuple[int, Any]:
            async with caller.http.post(url, json=body) as response:
                return response.status, await response.json()

        await order(name="slow", value=3)
        _, shown = await order(
            seed=7,
            clear=["slow"],
            faults=[
                {"name": "http_500", "probability": 0.5, "endpoints": ["/sendText"]},
                {"name": "duplicate", "value": 1, "times": 3},
            ],
        )
        status, _ = await order(faults=[{"name": "hang"}, {"name": "nonsense"}])
        kept = caller.gateway.faults.as_json()["faults"]
        _, one_off = await order(name="duplicate", on=False)
        _, none = await order(clear=True)

    assert [fault["name"] for fault in shown["faults"]] == ["http_500", "duplicate"]
    assert (status, kept) == (400, shown["faults"])
    assert [fault["name"] for fault in one_off["faults"]] == ["http_500"]
    assert none["faults"] == []
    assert {"slow", "throttle", "echo"} <= set(none["known"])


async def test_ten_thousand_messages_fit() -> None:
    """10,000 sayings over 100 groups arrive and are all on record."""
    world = World.crowd(groups=100, people=1)
    async with calling(world=world) as caller:
        for number in range(10_000):
            place = number % 100 + 1
            caller.gateway.say(f"{40_000_000_000 + place}@chatroom", f"群友{place}-1", str(number))
        async with asyncio.timeout(100):
            await caller.gateway.courier.idle()
        count = caller.gateway.recorder.count("callback")

    ids = {body["data"]["newMsgId"] for body in caller.receiver.bodies}
    assert (len(caller.receiver.bodies), len(ids), count) == (10_000, 10_000, 10_000)
    assert all(record.outcome == "http_200" for record in caller.gateway.recorder.of("callback"))


async def test_stranger_is_not_in_the_address_list() -> None:
    """Friends and rooms are, strangers are not."""
    async with calling() as caller:
        envelope = await caller.call("/getAddressList", wId=caller.w_id)

    assert json.dumps(envelope["data"]).count(WANG) == 0
    assert envelope["data"]["chatrooms"] == [GROUP]
