"""What Prometheus is told of messages and of the means: accounts, stores, disk, memory, times, retries."""

import asyncio

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.api.views import make_health_view
from app.services.metrics import Metrics
from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from tests.fixtures.inside import INSIDE_EMBEDDED, Inside, StartInside

STREAM = {"DIFY_STREAMING_ENABLED": "true"}


async def scraped(bridge: Inside) -> dict[str, float]:
    """Every sample that Prometheus would get now, by its name and labels."""
    view = make_health_view(bridge.runtime, is_draining=lambda: False)
    return samples(await view.exposition())


def samples(exposition: bytes) -> dict[str, float]:
    """By ``name{label="value"}``, labels in their order."""
    return {
        sample.name
        + (
            "{" + ",".join(f'{key}="{value}"' for key, value in sample.labels.items()) + "}"
            if sample.labels
            else ""
        ): sample.value
        for family in text_string_to_metric_families(exposition.decode())
        for sample in family.samples
    }


async def test_an_answer_tells_how_long_its_first_text_and_all_of_it_took(
    inside: StartInside,
) -> None:
    """The whole lasts at least as long as the wait for the first text; a process tells of itself, too."""
    async with inside(**STREAM) as bridge:
        await bridge.hear("一 [[text=一]] [[wait=0.3]]")
        await bridge.until_settled(1)
        found = await scraped(bridge)

    assert found["bridge_dify_first_token_seconds_count"] == 1
    assert found["bridge_answer_seconds_count"] == 1
    first = found["bridge_dify_first_token_seconds_sum"]
    assert 0.3 <= first <= found["bridge_answer_seconds_sum"]
    assert found["process_resident_memory_bytes"] > 10_000_000


@INSIDE_EMBEDDED
async def test_an_answer_that_does_not_stream_has_no_first_text(inside: StartInside) -> None:
    """It comes as one; nothing is made up."""
    async with inside(DIFY_STREAMING_ENABLED="false") as bridge:
        await bridge.hear("一 [[text=一]]")
        await bridge.until_settled(1)
        found = await scraped(bridge)

    assert found["bridge_dify_first_token_seconds_count"] == 0
    assert found["bridge_answer_seconds_count"] == 1


async def test_means_are_told_as_they_are(inside: StartInside, gateway: EcloudSimulator) -> None:
    """Both stores answer, the account is online, the disk has room; a server's memory is known."""
    async with inside() as bridge:
        await bridge.hear("一 [[text=一]]")
        await bridge.until_settled(1)
        found = await scraped(bridge)
        is_server = bridge.runtime.settings.redis_url.get_secret_value().startswith("redis://")

    assert found['bridge_store_up{store="database"}'] == 1
    assert found['bridge_store_up{store="redis"}'] == 1
    assert found['bridge_accounts{state="online"}'] == 1
    assert found['bridge_accounts{state="offline"}'] == 0
    assert found["bridge_disk_free_bytes"] > 0
    assert (found["bridge_redis_memory_bytes"] > 0) == is_server


@INSIDE_EMBEDDED
async def test_a_store_that_does_not_answer_is_told_as_down(
    inside: StartInside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only that one."""
    async with inside() as bridge:

        async def hangs(*_: object) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr("app.api.views.read_figures", hangs)
        found = await scraped(bridge)

    assert found['bridge_store_up{store="database"}'] == 0
    assert found['bridge_store_up{store="redis"}'] == 1


@INSIDE_EMBEDDED
async def test_what_is_tried_again_is_counted_by_its_stage(
    inside: StartInside,
    dify: DifySimulator,
    gateway: EcloudSimulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A question that Dify failed once; a segment that the gateway found too fast once."""
    monkeypatch.setattr("app.workers.send_policy.THROTTLED_PAUSE", 0.1)
    dify.faults.set("http_500", times=1)
    gateway.faults.set("throttle", 0, times=1)
    async with inside() as bridge:
        before = await scraped(bridge)
        await bridge.hear("一 [[text=一]]")
        await bridge.until_settled(1)
        found = await scraped(bridge)

    assert before['bridge_retries_total{stage="ask"}'] == 0
    assert found['bridge_retries_total{stage="ask"}'] == 1
    assert found['bridge_retries_total{stage="send"}'] == 1


def test_what_somebody_is_woken_for_has_its_zero_from_the_start() -> None:
    """A counter that begins with 1 has not grown, as far as Prometheus can tell."""
    found = samples(Metrics(version="1").exposition())

    for verdict in ("unavailable", "wrong_token", "user_queue_full", "too_many_waiting"):
        assert found[f'bridge_callbacks_total{{verdict="{verdict}"}}'] == 0
    assert found['bridge_messages_total{outcome="dead"}'] == 0
    assert found['bridge_dify_seconds_count{mode="streaming",outcome="failed"}'] == 0
