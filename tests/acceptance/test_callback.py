"""What the gateway, or anybody, may post: one verdict each, no harm, and a quick answer."""

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from tests.fixtures.bridge import Bridge, Stores, embedded_stores, peer_variables

SAMPLES = Path(__file__).parents[1] / "samples" / "ecloud"
ENVELOPE = {"code": "1000", "message": "success", "data": None}
GROUP, PERSON = "40000000001@chatroom", "wxid_xiaoming0a1b21"


def question(gateway: EcloudSimulator, number: int, text: str, **data: Any) -> dict[str, Any]:
    """A callback of a member of the simulated group; *number* makes its ids."""
    bot = next(iter(gateway.world.accounts.values()))
    return {
        "account": "13900000001",
        "messageType": "80001",
        "wcId": bot.wc_id,
        "data": {
            "content": text,
            "fromGroup": GROUP,
            "fromUser": PERSON,
            "toUser": bot.wc_id,
            "msgId": 1_900_000_000 + number,
            "newMsgId": 7_000_000_000_000_000_000 + number,
            "self": False,
            "timestamp": 1_800_000_000,
            "wId": bot.w_id,
            **data,
        },
    }


def garbage(gateway: EcloudSimulator) -> list[bytes]:
    """Bodies that hold no question."""
    fine = json.dumps(question(gateway, 1, "文字"), ensure_ascii=False)
    lone = json.dumps(question(gateway, 2, "\ud800"))
    return [
        b"",
        b" ",
        b"{",
        b"null",
        b"true",
        b"12",
        b'"text"',
        b"[]",
        b"{}",
        b"[" * 200_000,
        b'{"data":' * 100_000,
        b'{"messageType":"80001","wcId":"w","data":' + b"[" * 500 + b"]" * 500 + b"}",
        b"\xff\xfe\x00",
        fine.encode("gb18030"),
        fine.encode("utf-16"),
        lone.encode(),
        b'{"messageType":"80001","data":{"newMsgId":' + b"9" * 10_000 + b"}}",
        b'{"messageType":"80001","data":{"timestamp":NaN}}',
        b'{"messageType":' + b"8" * 30 + b',"data":{}}',
        b'{"messageType":{"a":1},"data":{}}',
        b'{"messageType":"80001","data":[]}',
        b'{"messageType":"80001","data":"text"}',
        b'{"messageType":"80001","data":null}',
        b'{"messageType":"80001","wcId":"w","data":{"fromGroup":7,"fromUser":[],"content":{}}}',
        b'{"messageType":"80001","wcId":"w","data":{"fromGroup":"g@chatroom","content":"x"}}',
        b'{"messageType":"99999","data":{"content":"x"}}',
        b"content=hello&wcId=1",
        b"<xml><a>1</a></xml>",
        b"\x00" * 1000,
    ]


async def chunks(size: int) -> AsyncIterator[bytes]:
    """A body whose length nobody tells before."""
    for _ in range(size // 65_536):
        yield b"y" * 65_536


async def counted(bridge: Bridge) -> dict[str, int]:
    """Callbacks by verdict, as ``/metrics`` has them."""
    lines = (await bridge.metrics()).splitlines()
    found = [line for line in lines if line.startswith("bridge_callbacks_total{")]
    return {line.split('"')[1]: int(float(line.rsplit(" ", 1)[1])) for line in found}


async def test_garbage_is_kept_with_its_verdict_and_harms_nobody(
    bridge: Bridge, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """No 5xx, nothing sent, every body a row; what is too large is refused with its beginning kept."""
    bodies = garbage(gateway)

    answers = [await bridge.post(body) for body in bodies]
    large = await bridge.post(b"x" * 2_000_000)
    chunked = await bridge.post_stream(chunks(2_000_000))
    exact = await bridge.post(b"z" * 1024 * 1024)
    await bridge.post(question(gateway, 9, "还好吗 [[text=还好]]"))
    sent = await gateway.wait_for_sent(1)
    rows = await bridge.rows("SELECT verdict, state, raw FROM messages ORDER BY id")

    assert [(status, json.loads(body)) for status, body in answers] == [(200, ENVELOPE)] * len(
        bodies
    )
    assert (large[0], chunked[0], exact[0]) == (413, 413, 200)
    ignored = [row for row in rows if row["state"] == "ignored"]
    assert len(ignored) == len(bodies) + 3
    assert all(row["verdict"] for row in ignored)
    too_large = [row["raw"] for row in ignored if row["verdict"] == "too_large"]
    assert too_large == ["x" * 4096, "y" * 4096]
    assert max(len(row["raw"] or "") for row in ignored) <= 65_536
    assert len(sent) == len(dify.questions()) == 1
    assert sum((await counted(bridge)).values()) == len(rows)
    assert (await bridge.get("/healthz"))[0] == 200


async def test_every_sample_gets_exactly_one_verdict_whatever_its_content_type(
    bridge: Bridge, gateway: EcloudSimulator
) -> None:
    """Received is the sum of the verdicts; the test push is answered like the rest."""
    kinds = ["application/json", "text/plain", "application/x-www-form-urlencoded", "", "a/b; c=d"]
    paths = sorted(SAMPLES.glob("*.json"))

    for number, path in enumerate(paths):
        status, body = await bridge.post(
            path.read_bytes(), headers={"Content-Type": kinds[number % len(kinds)]}
        )
        assert (status, json.loads(body)) == (200, ENVELOPE), path.name

    rows = await bridge.rows("SELECT verdict, state, deliveries FROM messages")
    verdicts = await counted(bridge)
    assert sum(row["deliveries"] for row in rows) == len(paths) == sum(verdicts.values())
    assert verdicts["test_push"] == 1
    assert all(row["verdict"] for row in rows if row["state"] in {"ignored", "done", "dead"})
    # One of the samples takes another one back.
    taken = [row for row in rows if row["state"] != "ignored" or row["verdict"] == "recalled"]
    assert verdicts["accepted"] == len(taken)


async def test_twenty_callbacks_are_answered_at_once_while_dify_thinks(
    idle_bridge: Bridge, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """And the same message delivered five times at once is asked and answered once."""
    bridge = await idle_bridge.start(DIFY_INITIAL_CONCURRENCY="32")
    slow = [
        question(gateway, n, f"第{n}问 [[wait=5]] [[text={n}]]", fromUser=f"wxid_p{n:02d}")
        for n in range(20)
    ]
    times = []
    async with aiohttp.ClientSession() as http:

        async def post(body: dict[str, Any]) -> int:
            async with http.post(bridge.callback_url, json=body) as response:
                return response.status

        await post({"messageType": "00000"})
        for body in slow:
            started = time.perf_counter()
            assert await post(body) == 200
            times.append(time.perf_counter() - started)
        twice = question(gateway, 100, "重复 [[text=一次]]", fromUser="wxid_twice")
        elsewhere = question(
            gateway, 100, "重复 [[text=一次]]", fromUser="wxid_twice", wId="another-login"
        )
        statuses = await asyncio.gather(*(post(body) for body in [twice, elsewhere, twice] * 3))
        await gateway.recorder.until(lambda: "一次" in str(gateway.sent), 40)
        assert await post(twice) == 200
    await gateway.wait_for_sent(21, seconds=60)
    [row] = await bridge.rows("SELECT deliveries FROM messages WHERE from_user = 'wxid_twice'")

    figures = f"median {statistics.median(times) * 1000:.1f} ms, worst {max(times) * 1000:.1f} ms"
    print(figures)  # noqa: T201 - read by whoever runs it with -s
    assert statistics.median(times) < 1.0, figures
    assert set(statuses) == {200}
    assert row["deliveries"] == 10
    assert len(dify.questions()) == len(gateway.sent) == 21


async def test_with_tokens_only_their_paths_exist(
    tmp_path: Path, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """A wrong token looks like a path that does not exist; both tokens of a rotation are served."""
    stores: Stores = embedded_stores(tmp_path)
    bridge = Bridge(stores, peer_variables(gateway, dify))
    try:
        await bridge.start(ECLOUD_CALLBACK_TOKEN="old-Token_1-long-enough,new-Token_2-long-enough")
        body = json.dumps(question(gateway, 1, "好 [[text=好]]")).encode()
        seen = {}
        async with aiohttp.ClientSession() as http:
            for path in (
                "/callback",
                "/callback/",
                "/callback/wrong",
                "/callback/%E5%8F%A3%E4%BB%A4",
                "/nowhere/wrong",
                "/callback/old-Token_1-long-enough",
                "/callback/new-Token_2-long-enough",
            ):
                async with http.post(f"{bridge.url}/api/v1{path}", data=body) as response:
                    seen[path] = (response.status, await response.json())
        await gateway.wait_for_sent(1)
        rows = await bridge.rows("SELECT deliveries FROM messages")
        metrics = await counted(bridge)
    finally:
        bridge.kill()

    missing = (404, {"detail": "Not Found"})
    assert list(seen.values()) == [missing] * 5 + [(200, ENVELOPE)] * 2
    assert [row["deliveries"] for row in rows] == [2]
    assert metrics["wrong_token"] == 2
    assert "Token_1" not in bridge.log
    assert "Token_2" not in bridge.log
