"""The event stream a playground watches: order, replay, pings, and an end without delay."""

import asyncio
import json
from typing import Any

import aiohttp

from simulators.ecloud import EcloudSimulator
from simulators.recorder import Journal, Recorder

GROUP = "40000000001@chatroom"


async def read_events(response: aiohttp.ClientResponse, count: int) -> list[dict[str, Any]]:
    """The next *count* events; `id` holds the number of each."""
    events: list[dict[str, Any]] = []
    number = 0
    while len(events) < count:
        line = (await response.content.readline()).decode().rstrip("\n")
        if line.startswith("id: "):
            number = int(line[4:])
        elif line.startswith("data: "):
            events.append({"id": number, **json.loads(line[6:])})
    return events


async def send(gateway: EcloudSimulator, http: aiohttp.ClientSession, **body: Any) -> Any:
    """Send a text to the group."""
    account = gateway.world.first_account()
    async with http.post(
        f"{gateway.url}/sendText",
        json={"wId": account.w_id, "wcId": GROUP, **body},
        headers={"Authorization": gateway.authorization},
    ) as response:
        return (await response.json())["data"]


async def test_what_is_said_sent_and_recalled_is_told_in_order() -> None:
    """One stream tells who said, sent and took back what, with ids as strings."""
    async with EcloudSimulator.start() as gateway, aiohttp.ClientSession() as http:
        account = gateway.world.first_account()
        async with http.get(f"{gateway.url}/_sim/events") as response:
            assert response.content_type == "text/event-stream"
            said = gateway.say("体验群", "老王", "你好", mention_bot=True)
            data = await send(gateway, http, content="@老王（财务） 好", at="laowang-1975")
            ids = {name: data[name] for name in ("msgId", "newMsgId", "createTime")}
            async with http.post(
                f"{gateway.url}/revokeMsg",
                json={"wId": account.w_id, "wcId": GROUP, **ids},
                headers={"Authorization": gateway.authorization},
            ) as revoked:
                await revoked.read()
            events = await read_events(response, 3)

    assert [event["type"] for event in events] == ["said", "sent", "revoked"]
    assert [event["id"] for event in events] == [1, 2, 3]
    first, second, third = events
    assert (first["group"], first["person"], first["nickname"]) == (
        GROUP,
        "laowang-1975",
        "老王（财务）",
    )
    assert first["newMsgId"] == str(said.new_msg_id)
    assert (second["wcId"], second["nickname"], second["at"]) == (
        account.wc_id,
        "小助手",
        ["laowang-1975"],
    )
    assert third["newMsgId"] == second["newMsgId"] == str(data["newMsgId"])
    assert isinstance(first["at_ms"], int)


async def test_stream_replays_what_a_cut_tab_missed() -> None:
    """`Last-Event-ID` and `?since=` give the later events first, then live ones."""
    async with EcloudSimulator.start() as gateway, aiohttp.ClientSession() as http:
        for text in "甲乙丙":
            gateway.say(GROUP, "小明", text)
        url = f"{gateway.url}/_sim/events"
        async with http.get(url, headers={"Last-Event-ID": "1"}) as response:
            missed = await read_events(response, 2)
            gateway.say(GROUP, "小明", "丁")
            live = await read_events(response, 1)
        async with http.get(url, params={"since": "0"}) as response:
            everything = await read_events(response, 4)
        async with http.get(url) as response:
            await response.content.readline()
            gateway.say(GROUP, "小明", "戊")
            new = await read_events(response, 1)

    assert [event["text"] for event in missed + live] == ["乙", "丙", "丁"]
    assert [event["text"] for event in everything] == list("甲乙丙丁")
    assert [event["text"] for event in new] == ["戊"]


async def test_idle_stream_has_pings_and_ends_with_the_server() -> None:
    """A comment comes each interval; stopping ends the stream at once."""
    async with aiohttp.ClientSession() as http:
        async with EcloudSimulator.start(ping_seconds=0.05) as gateway:
            response = await http.get(f"{gateway.url}/_sim/events")
            line = b""
            while line != b": ping\n":
                line = await response.content.readline()
            started = asyncio.get_running_loop().time()
        took = asyncio.get_running_loop().time() - started
        async with asyncio.timeout(1):
            rest = await response.read()
        response.close()

    assert took < 10
    assert rest.replace(b": ping\n\n", b"").strip() == b""


async def test_journal_forgets_the_oldest_and_keeps_numbers() -> None:
    """Beyond its bound old entries go; numbers stay what they were."""
    journal: Journal[str] = Journal(keep=10)
    for number in range(1, 101):
        journal.append(str(number))

    kept = journal.since(0)
    assert kept[-1] == (100, "100")
    assert all(str(number) == entry for number, entry in kept)
    assert 10 <= len(journal) < 20
    assert journal.since(98) == [(99, "99"), (100, "100")]
    assert journal.since(100) == []


async def test_recorder_keeps_within_bounds_and_in_order() -> None:
    """Each kind is bounded by itself; `since` merges kinds by number."""
    recorder = Recorder(keep=3)
    for number in range(5):
        recorder.note("request", f"r{number}")
        recorder.note("sent", f"s{number}")

    names = [record.name for record in recorder.since(0)]
    assert names == ["r2", "s2", "r3", "s3", "r4", "s4"]
    assert [record.name for record in recorder.since(0, limit=2)] == ["r2", "s2"]
    assert [record.name for record in recorder.since(9)] == ["s4"]
