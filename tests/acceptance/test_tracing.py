"""One trace per message, from the callback to the sent segments: the whole bridge and a collector."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from tests.fixtures.bridge import ON_EMBEDDED, ON_SERVERS, Bridge, Stores, peer_variables
from tests.fixtures.collector import Collected, Collector
from tests.fixtures.ports import free_port

GROUP, MING = "40000000001@chatroom", "wxid_xiaoming0a1b21"
SERVER, CLIENT, INTERNAL = 2, 3, 1
STREAM = {"DIFY_STREAMING_ENABLED": "true"}


def libraries(bridge: Bridge) -> str:
    """Files that its process has loaded, as Linux tells."""
    assert bridge.process is not None
    return Path(f"/proc/{bridge.process.pid}/maps").read_text("utf-8")


def check_one_trace(collector: Collector, message_id: int) -> tuple[Collected, list[Collected]]:
    """The first span and the others, which all belong to it."""
    mine = [one for one in collector.spans if one.facts["bridge.message_id"] == str(message_id)]
    [first] = [one for one in mine if not one.parent]
    others = [one for one in mine if one.parent]
    assert first.name == "callback"
    assert first.kind == SERVER
    assert {one.trace for one in mine} == {first.trace}
    assert {one.parent for one in others} == {first.id}
    assert len({one.id for one in mine}) == len(mine)
    return first, others


async def test_spans_of_a_message_are_one_trace_and_tell_nothing_of_people_or_words(
    idle_bridge: Bridge, gateway: EcloudSimulator, collector: Collector
) -> None:
    """Callback, wait, question, each call of sendText; in their order. A second message has its own."""
    bridge = await idle_bridge.start(**STREAM, **collector.variables)
    gateway.say(GROUP, MING, "机密的问题 [[text=机密的回答]]")
    await gateway.wait_for_sent(1)
    gateway.say(GROUP, MING, "另一个 [[text=另一个回答]]")
    await gateway.wait_for_sent(2)
    await collector.until(callback=2, queue__wait=2, dify__ask=2, ecloud__send=2)
    [one, two] = await bridge.rows("SELECT id FROM messages ORDER BY id")
    metrics = await bridge.metrics()
    loaded = libraries(bridge)
    code = await bridge.stop()

    first, others = check_one_trace(collector, one["id"])
    second, _ = check_one_trace(collector, two["id"])
    assert first.trace != second.trace
    by_name = {span.name: span for span in others}
    wait, ask, send = (by_name[name] for name in ("queue.wait", "dify.ask", "ecloud.send"))
    assert (wait.kind, ask.kind, send.kind) == (INTERNAL, CLIENT, CLIENT)
    assert first.started_at <= wait.started_at + 0.01 <= wait.ended_at + 0.02
    assert wait.ended_at <= ask.started_at + 0.01
    assert ask.started_at <= ask.ended_at <= send.ended_at
    assert (ask.facts["bridge.mode"], ask.facts["bridge.attempt"]) == ("streaming", 1)
    assert (send.facts["bridge.kind"], send.facts["bridge.segment"]) == ("text", 0)
    assert first.resource["service.name"] == "ecloud-dify"
    assert first.resource["bridge.role"] == "all"
    told = b"".join(collector.bodies).decode("utf-8", "replace")
    bot = gateway.world.first_account()
    for secret in ("机密", "另一个", GROUP, MING, bot.wc_id, bot.w_id, "小明"):
        assert secret not in told, secret
    assert re.search(r'bridge_spans_total\{outcome="exported"\} [1-9]', metrics)
    assert "upb" in loaded
    assert code == 0
    assert "trace.not_exported" not in bridge.log


@ON_EMBEDDED
async def test_every_segment_has_its_span_and_a_failed_call_its_error(
    idle_bridge: Bridge, gateway: EcloudSimulator, collector: Collector
) -> None:
    """Three parts; the gateway did not carry out the first call of the first one."""
    await idle_bridge.start(REPLY_MAX_LENGTH="200", **STREAM, **collector.variables)
    gateway.faults.set("throttle", 0, times=1)
    gateway.say(GROUP, MING, "一 [[long=500]]")
    await gateway.wait_for_sent(3)
    await collector.until(ecloud__send=4)
    await idle_bridge.stop()

    sends = collector.named("ecloud.send")
    sent = [one.facts["bridge.segment"] for one in sends if not one.error]
    assert sends[0].error == "ecloud_throttled"
    assert sent == list(range(len(gateway.sent)))
    assert len({one.trace for one in collector.spans}) == 1


@ON_EMBEDDED
async def test_a_question_that_is_tried_again_has_a_span_for_each_try_and_one_wait(
    idle_bridge: Bridge, gateway: EcloudSimulator, dify: DifySimulator, collector: Collector
) -> None:
    """The first one bears its error."""
    dify.faults.set("http_500", times=1)
    await idle_bridge.start(**collector.variables)
    gateway.say(GROUP, MING, "一 [[text=一]]")
    await gateway.wait_for_sent(1)
    await collector.until(dify__ask=2, ecloud__send=1)
    await idle_bridge.stop()

    asks = collector.named("dify.ask")
    assert [one.facts["bridge.attempt"] for one in asks] == [1, 2]
    assert [one.error for one in asks] == ["dify_unavailable", ""]
    assert len(collector.named("queue.wait")) == 1
    assert len({one.trace for one in collector.spans}) == 1


@ON_EMBEDDED
async def test_an_answer_that_broke_off_shows_how_long_its_rest_was_looked_for(
    idle_bridge: Bridge, gateway: EcloudSimulator, dify: DifySimulator, collector: Collector
) -> None:
    """The question bears the error, and what Dify was asked for afterwards has a span of its own."""
    dify.faults.set("cut_midway", times=1)
    await idle_bridge.start(**STREAM, **collector.variables)
    gateway.say(GROUP, MING, "一 [[long=300]]")
    await gateway.wait_for_sent(1)
    await collector.until(dify__ask=1, dify__fetch=1, ecloud__send=1)
    await idle_bridge.stop()

    [ask, *_] = collector.named("dify.ask")
    [fetch, *_] = collector.named("dify.fetch")
    assert ask.error == "dify_unavailable"
    assert (fetch.kind, fetch.facts["bridge.app"]) == (CLIENT, "default")
    assert ask.ended_at <= fetch.started_at + 0.01
    assert len({one.trace for one in collector.spans}) == 1


async def test_a_trace_goes_on_after_a_restart(
    idle_bridge: Bridge, gateway: EcloudSimulator, collector: Collector
) -> None:
    """The first process took the callback and was stopped; the second one answers and sends."""
    peers, idle_bridge.variables = idle_bridge.variables, dict(collector.variables)
    await idle_bridge.start()
    gateway.say(GROUP, MING, "一 [[text=一]]")
    [message] = await idle_bridge.until_rows("SELECT id FROM messages")
    await collector.until(callback=1)
    idle_bridge.kill()
    await idle_bridge.start(**peers)
    await gateway.wait_for_sent(1)
    await collector.until(queue__wait=1, dify__ask=1, ecloud__send=1)
    await idle_bridge.stop()

    first, others = check_one_trace(collector, message["id"])
    assert {one.resource["process.pid"] for one in others}.isdisjoint(
        {first.resource["process.pid"]}
    )
    [wait] = collector.named("queue.wait")
    assert wait.started_at <= first.ended_at + 0.01


@pytest.fixture
async def parts(
    stores: Stores, gateway: EcloudSimulator, dify: DifySimulator, collector: Collector
) -> AsyncIterator[list[Bridge]]:
    """Three processes, one for each role, that tell their spans."""
    variables = {**peer_variables(gateway, dify), **collector.variables}
    found = [Bridge(stores, dict(variables), port=free_port()) for _ in range(3)]
    try:
        for role, bridge in zip(("api", "worker", "sender"), found, strict=True):
            await bridge.start("--role", role)
        gateway.callback_url = found[0].callback_url
        yield found
    finally:
        for bridge in found:
            bridge.kill()


@ON_SERVERS
async def test_a_trace_goes_through_the_processes_of_all_roles(
    parts: list[Bridge], gateway: EcloudSimulator, collector: Collector
) -> None:
    """Each tells its own spans, and they belong together."""
    gateway.say(GROUP, MING, "一 [[text=一]]")
    await gateway.wait_for_sent(1)
    await collector.until(callback=1, queue__wait=1, dify__ask=1, ecloud__send=1)
    [message] = await parts[0].rows("SELECT id FROM messages")

    check_one_trace(collector, message["id"])
    roles = {one.name: one.resource["bridge.role"] for one in collector.spans}
    assert roles == {
        "callback": "api",
        "queue.wait": "worker",
        "dify.ask": "worker",
        "ecloud.send": "sender",
    }


async def test_a_collector_that_is_away_is_told_of_once_and_changes_nothing(
    idle_bridge: Bridge, gateway: EcloudSimulator
) -> None:
    """All is answered; what could not be told is counted; the stop does not wait for it."""
    pytest.importorskip("opentelemetry.sdk", reason="needs requirements-otel.txt")
    away = f"http://127.0.0.1:{free_port()}"
    bridge = await idle_bridge.start(
        OTEL_EXPORTER_OTLP_ENDPOINT=away,
        OTEL_EXPORTER_OTLP_TIMEOUT="1",
        OTEL_BSP_SCHEDULE_DELAY="50",
    )
    for number in range(5):
        gateway.say(GROUP, MING, f"第{number}问 [[text=答{number}]]")
    sent = await gateway.wait_for_sent(5)
    async with asyncio.timeout(30):
        while 'bridge_spans_total{outcome="failed"} 0.0' in await bridge.metrics():
            await asyncio.sleep(0.05)
    gateway.say(GROUP, MING, "最后 [[text=最后]]")
    await gateway.wait_for_sent(6)
    code = await bridge.stop()

    assert [one.content[-2:] for one in sent] == [f"答{number}" for number in range(5)]
    assert code == 0
    assert bridge.log.count("trace.not_exported") == 1
    assert "Traceback" not in bridge.log
    assert "opentelemetry" not in bridge.log


@ON_EMBEDDED
async def test_without_the_variable_nothing_of_it_is_loaded(
    bridge: Bridge, gateway: EcloudSimulator
) -> None:
    """Neither the SDK nor protobuf, which would cost memory and time at the start."""
    gateway.say(GROUP, MING, "一 [[text=一]]")
    await gateway.wait_for_sent(1)

    assert "upb" not in libraries(bridge)
    assert "trace.on" not in bridge.log


#: The bridge where the packages are not installed.
BARE = """
import sys
sys.modules["opentelemetry.sdk"] = None
sys.path.insert(0, {root!r})
import main
sys.exit(main.main(sys.argv[1:]))
"""


@ON_EMBEDDED
@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, "requirements-otel.txt"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "127.0.0.1:4318"}, "http://"),
        (
            {
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4317",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            },
            "4318",
        ),
    ],
    ids=["packages missing", "no address", "another protocol"],
)
async def test_a_start_that_cannot_trace_says_what_to_do(
    idle_bridge: Bridge, variables: dict[str, str], said: str
) -> None:
    """Instead of tracing silently nothing."""
    root = str(Path(__file__).parents[2])
    idle_bridge.program = ("-c", BARE.format(root=root))
    process = idle_bridge.launch(**variables)
    code = await asyncio.to_thread(process.wait, 60)

    assert code == 1
    assert "bridge.not_started" in idle_bridge.log
    assert said in idle_bridge.log
