"""The answer loop between real stores and the simulated peers: what becomes of each failure."""

import asyncio

import pytest

from app.models.flow import Claim
from app.services.errors import QueueUnavailable
from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from tests.fixtures.inside import INSIDE_EMBEDDED, StartInside

APOLOGY = "抱歉,请稍后再试。"
GONE = "3f6c1a90-5b2e-4d17-9a44-c0ffee120001"


def queries(dify: DifySimulator) -> list[str]:
    """The first words of what Dify was asked, in order."""
    return [str(record.facts.get("query", "?")).split()[0] for record in dify.questions()]


@pytest.mark.parametrize("streaming", ["false", "true"])
async def test_what_fails_twice_is_answered_once_and_holds_up_nobody(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator, streaming: str
) -> None:
    """Dify says 500 twice; another person is answered meanwhile, the own next message waits."""
    async with inside(
        DIFY_STREAMING_ENABLED=streaming, MESSAGE_PROCESSING_RETRY_DELAY="0.4"
    ) as bridge:
        await bridge.hear("一 [[fail=500;times=2]] [[text=甲]]")
        await bridge.hear("二 [[text=乙]]")
        await bridge.hear("三 [[text=丙]]", person="小红")
        messages = await bridge.until_settled(3)

    assert [one.content.split("\u2005")[-1] for one in gateway.sent] == ["丙", "甲", "乙"]
    assert sorted(queries(dify)) == ["一", "一", "一", "三", "二"]
    assert [message["verdict"] for message in messages] == ["answered"] * 3
    assert [message["attempts"] for message in messages] == [2, 0, 0]
    assert dify.concurrency.overlaps == []


@pytest.mark.parametrize("reply", ["", APOLOGY])
async def test_after_four_failures_the_group_hears_one_sentence_at_most(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator, reply: str
) -> None:
    """Dead with its verdict; nothing of the cause in the group; the next message goes on. Somebody
    else was answered meanwhile: it is no outage."""
    async with inside(MESSAGE_PROCESSING_FAILURE_REPLY=reply) as bridge:
        await bridge.hear("一 [[fail=500]]")
        await bridge.hear("二 [[text=好]]")
        await bridge.hear("三 [[wait=0.3]] [[text=丙]]", person="小红")
        dead, good, _ = await bridge.until_settled(3)
        turns = await bridge.rows("SELECT is_processed, is_sent FROM conversations")

    said = [one.content.split("\u2005")[-1] for one in gateway.sent]
    assert [words for words in said if words != "丙"] == ([reply, "好"] if reply else ["好"])
    assert [query for query in queries(dify) if query != "三"] == ["一"] * 4 + ["二"]
    assert (dead["state"], dead["verdict"]) == ("dead", "failed:dify_unavailable")
    assert "500" in dead["error"]
    assert good["verdict"] == "answered"
    assert {(turn["is_processed"], turn["is_sent"]) for turn in turns} == {(1, 1)}


@INSIDE_EMBEDDED
async def test_a_wrong_key_is_not_tried_again(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """401 will not become better; the operator sees why."""
    async with inside(DIFY_API_KEY="app-wrong") as bridge:
        await bridge.hear("一")
        [dead] = await bridge.until_settled(1)

    assert dead["verdict"] == "failed:dify_rejected"
    assert len(dify.questions()) == 1
    assert gateway.sent == []


@INSIDE_EMBEDDED
async def test_too_many_requests_are_waited_for_and_cost_no_attempt(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Five times 429 is more than the retries allow, and still it is answered."""
    dify.faults.set("http_429", times=5)
    async with inside() as bridge:
        await bridge.hear("一 [[text=终于]]")
        [message] = await bridge.until_settled(1)

    assert (message["verdict"], message["attempts"]) == ("answered", 0)
    assert len(dify.questions()) == 6
    assert len(gateway.sent) == 1


@INSIDE_EMBEDDED
async def test_a_dify_app_with_a_limit_answers_a_crowd(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Dify's own limit of two at once turns the others away; all are answered once."""
    dify.default_app.max_active = 2
    people = [f"wxid_crowd{number:02d}" for number in range(12)]
    for person in people:
        gateway.world.add_person(person, person)
    gateway.world.add_group("50000000001@chatroom", "人多", people)
    async with inside() as bridge:
        for person in people:
            await bridge.hear(
                f"{person} [[wait=0.05]] [[text={person}]]", person=person, group="人多"
            )
        await bridge.until_settled(12)

    assert sorted(one.content.split("\u2005")[-1] for one in gateway.sent) == people


@pytest.mark.parametrize("streaming", ["false", "true"])
async def test_a_conversation_that_dify_forgot_begins_anew(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator, streaming: str
) -> None:
    """It is no failed try; the new conversation is the one that goes on."""
    async with inside(DIFY_STREAMING_ENABLED=streaming, DIFY_FIRST_EVENT_TIMEOUT="1") as bridge:
        await bridge.hear("一")
        await bridge.until_settled(1)
        await bridge.execute("UPDATE sessions SET conversation_id = :id", id=GONE)
        await bridge.hear("二")
        await bridge.until_settled(2)
        await bridge.hear("三")
        messages = await bridge.until_settled(3)
        [session] = await bridge.rows("SELECT conversation_id FROM sessions")

    conversations = [record.facts.get("conversation_id") for record in dify.questions()]
    assert conversations[1] == GONE
    assert not conversations[2]
    assert conversations[3:] == [session["conversation_id"]]
    assert [message["attempts"] for message in messages] == [0, 0, 0]


@INSIDE_EMBEDDED
async def test_an_empty_answer_ends_the_message_and_sends_nothing(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """Nothing to send counts as sent."""
    async with inside() as bridge:
        await bridge.hear("一 [[empty]]")
        [message] = await bridge.until_settled(1)
        async with asyncio.timeout(1):  # long before the lease of the queue would end
            while await bridge.runtime.redis.keys("ecloud_*:*"):
                await asyncio.sleep(0.02)
        [turn] = await bridge.rows("SELECT is_processed, is_sent FROM conversations")

    assert (message["state"], message["verdict"]) == ("done", "answered_nothing")
    assert gateway.sent == []
    assert (turn["is_processed"], turn["is_sent"]) == (1, 1)


@INSIDE_EMBEDDED
async def test_a_try_that_takes_too_long_is_given_up_and_counted(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """``queue_timeout`` bounds one try, whatever Dify's own limits say."""
    async with inside(
        MESSAGE_PROCESSING_QUEUE_TIMEOUT="0.4", MESSAGE_PROCESSING_MAX_RETRY_COUNT="1"
    ) as bridge:
        await bridge.hear("一 [[wait=30]]")
        await bridge.until_rows("SELECT 1 FROM messages WHERE attempts = 1")
        await bridge.hear("二 [[text=好]]", person="小红")
        messages = await bridge.until_settled(2)

    assert [message["verdict"] for message in messages] == ["failed:attempt_timeout", "answered"]
    assert queries(dify).count("一") == 2
    assert len(gateway.sent) == 1


async def test_a_lost_lease_stops_the_worker_and_the_message_is_answered_once(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Somebody deletes the lease by hand: the work under it is void, the next claim answers."""
    async with inside(MESSAGE_PROCESSING_LEASE="1.2") as bridge:
        await bridge.hear("一 [[wait=1.5;times=1]] [[text=好]]")
        await bridge.until_rows("SELECT 1 FROM messages WHERE state = 'processing'")
        [key] = await bridge.runtime.redis.keys("ecloud_processing:*")
        await bridge.runtime.redis.delete(key)
        [message] = await bridge.until_settled(1)

    assert [one.content.split("\u2005")[-1] for one in gateway.sent] == ["好"]
    assert message["verdict"] == "answered"
    assert dify.concurrency.overlaps == []


async def test_a_claim_that_overtakes_its_own_former_task_asks_only_after_that_one_ended(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Redis lost the lease and is faster than the heartbeat: still one question at a time."""
    async with inside(MESSAGE_PROCESSING_LEASE="30") as bridge:
        redis = bridge.runtime.redis
        await bridge.hear("一 [[wait=20;times=1]] [[text=好]]")
        await dify.recorder.until(lambda: len(dify.questions()) == 1)
        [key] = await redis.keys("ecloud_processing:*")
        assert isinstance(key, bytes)
        user = key.decode().split(":", 1)[1]
        await redis.delete(key)
        await redis.zrem("ecloud:leases", user)
        await redis.zadd("ecloud:ready", {user: 1})
        await bridge.until_settled(1)

    assert queries(dify) == ["一", "一"]
    assert dify.concurrency.overlaps == []
    assert len(gateway.sent) == 1


async def test_an_answer_written_under_a_lease_that_was_taken_is_refused(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """A row with a greater fence is another worker's: nothing is planned, and it is asked anew."""
    async with inside(MESSAGE_PROCESSING_LEASE="2") as bridge:
        await bridge.hear("一 [[wait=0.5;times=1]] [[text=好]]")
        [row] = await bridge.until_rows("SELECT * FROM messages WHERE state = 'processing'")
        stored = await bridge.runtime.redis.get("ecloud:fence")
        assert stored is not None
        redis_fence = int(stored)
        await bridge.execute("UPDATE messages SET fence = :fence", fence=redis_fence + 5_000_000)
        [message] = await bridge.until_settled(1)
        segments = await bridge.rows("SELECT seq FROM segments")

    assert message["id"] == row["id"]
    assert message["fence"] > redis_fence + 5_000_000
    assert [segment["seq"] for segment in segments] == [0]
    assert len(gateway.sent) == 1
    assert len(dify.questions()) == 2


async def test_an_entry_of_a_message_that_is_answered_leaves_the_queue_unasked(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Redis lost its last second: the entry is back, and SQL knows better."""
    async with inside() as bridge:
        await bridge.hear("一 [[text=好]]")
        [message] = await bridge.until_settled(1)
        user = message["from_user"]
        await bridge.runtime.redis.rpush(f"ecloud_queue:{user}", str(message["id"]))
        await bridge.runtime.redis.zadd("ecloud:ready", {user: 1})
        await bridge.hear("二 [[text=再]]")
        await bridge.until_settled(2)

    assert queries(dify) == ["一", "二"]
    assert [one.content.split("\u2005")[-1] for one in gateway.sent] == ["好", "再"]


async def test_a_list_in_another_order_than_sql_is_put_right_before_anything_is_asked(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """After a failover the newer message may stand in front."""
    async with inside(works=False) as bridge:
        for question in ("一", "二", "三"):
            await bridge.hear(question)
        await bridge.background.index.start(process_died=False)
        redis = bridge.runtime.redis
        [key] = await redis.keys("ecloud_queue:*")
        ids = await redis.lrange(key, 0, -1)
        await redis.delete(key)
        await redis.rpush(key, ids[2], ids[1], b"4", b"not-an-id", ids[0])
        await bridge.background.start()
        await bridge.until_settled(3)

    assert queries(dify) == ["一", "二", "三"]
    assert [one.content.split("你问的是")[1][1] for one in gateway.sent] == ["一", "二", "三"]


async def test_a_poisonous_message_is_buried_and_its_neighbours_are_answered(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Crashes as the only suspect count; from the limit on it is not tried again."""
    async with inside(works=False) as bridge:
        await bridge.hear("毒")
        await bridge.hear("好 [[text=好]]", person="小红")
        await bridge.execute(
            "UPDATE messages SET crashes = 6, sole_crashes = 4 WHERE question = '毒'"
        )
        await bridge.background.start()
        poison, good = await bridge.until_settled(2)

    assert (poison["state"], poison["verdict"]) == ("dead", "failed:crashed")
    assert good["verdict"] == "answered"
    assert queries(dify) == ["好"]


async def test_an_unforeseen_error_is_retried_and_buried_like_any_other(
    inside: StartInside, gateway: EcloudSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of ours in opening the turn neither ends the loop nor blocks other people."""
    async with inside(MESSAGE_PROCESSING_MAX_RETRY_COUNT="1") as bridge:
        original = bridge.runtime.outbox.plan

        async def plan(turn: object, *arguments: object, **options: object) -> None:
            if getattr(turn, "question", "").startswith("坏"):
                raise ZeroDivisionError("ours")
            await original(turn, *arguments, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(bridge.runtime.outbox, "plan", plan)
        await bridge.hear("坏")
        await bridge.hear("好 [[text=好]]", person="小红")
        bad, good = await bridge.until_settled(2)

    assert (bad["verdict"], good["verdict"]) == ("failed:internal_error", "answered")
    assert [one.content.split("\u2005")[-1] for one in gateway.sent] == ["好"]


async def test_hung_questions_are_given_back_at_a_hurried_stop(
    inside: StartInside, dify: DifySimulator
) -> None:
    """A second signal does not wait for Dify; the lease is given back, not left to run out."""
    loop = asyncio.get_running_loop()
    async with inside(MESSAGE_PROCESSING_LEASE="30") as bridge:
        await bridge.hear("一 [[wait=60]]")
        await dify.recorder.until(lambda: len(dify.questions()) == 1)
        redis, started = bridge.runtime.redis, loop.time()
        bridge.background.hurry()
        await bridge.background.stop()

        assert loop.time() - started < 5
        assert await redis.keys("ecloud_processing:*") == []
        assert await redis.zrange("ecloud:leases", 0, -1) == []
        assert await redis.hgetall("ecloud:attempts") == {}


async def test_a_stop_waits_for_dify_but_not_for_ever(
    inside: StartInside,
    gateway: EcloudSimulator,
    dify: DifySimulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is nearly done is finished; what hangs is given back at the bound, uncounted."""
    monkeypatch.setattr("app.workers.worker.DRAIN_SECONDS", 1.5)
    async with inside(MESSAGE_PROCESSING_LEASE="30") as bridge:
        await bridge.hear("久 [[wait=60]]")
        await bridge.hear("快 [[wait=1]] [[text=好]]", person="小红")
        await dify.recorder.until(lambda: len(dify.questions()) == 2)
        await bridge.background.stop()
        rows = await bridge.rows(
            "SELECT question, state, attempts, crashes FROM messages ORDER BY id"
        )

        assert await bridge.runtime.redis.keys("ecloud_processing:*") == []
    assert [row["state"] for row in rows] == ["received", "done"]
    assert [(row["attempts"], row["crashes"]) for row in rows] == [(0, 0)] * 2
    assert [one.content.split("\u2005")[-1] for one in gateway.sent] == ["好"]


async def test_a_heartbeat_that_fails_is_soon_repeated(
    inside: StartInside, gateway: EcloudSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short outage of Redis in the middle of a question costs nothing."""
    async with inside(MESSAGE_PROCESSING_LEASE="1.8") as bridge:
        original, failures = bridge.runtime.queue.heartbeat, iter([True, True, False])

        async def heartbeat(claims: list[Claim]) -> list[Claim]:
            if next(failures, False):
                raise QueueUnavailable("away")
            return await original(claims)

        monkeypatch.setattr(bridge.runtime.queue, "heartbeat", heartbeat)
        await bridge.hear("一 [[wait=2.2]] [[text=好]]")
        [message] = await bridge.until_settled(1)

    assert (message["attempts"], message["crashes"]) == (0, 0)
    assert len(gateway.sent) == 1
