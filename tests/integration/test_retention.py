"""What has grown old is removed, what is still needed stays."""

from datetime import timedelta

from app.services.stages import utc_now
from app.utils.ids import LOW_BITS
from app.workers.retention import Ages, Retention
from tests.fixtures.inside import INSIDE_EMBEDDED, Inside, StartInside

AGES = Ages(text=timedelta(days=90), raw=timedelta(days=7), dedupe=timedelta(days=30))


def retention(bridge: Inside, ages: Ages = AGES) -> Retention:
    """The removal of this bridge."""
    runtime = bridge.runtime
    return Retention(store=runtime.store, leases=runtime.leases, ages=ages, clock=runtime.clock)


async def age(bridge: Inside, question: str, days: int) -> None:
    """Make a message and all that belongs to it old: its id says when it was received."""
    back = (days * 86_400_000) << LOW_BITS
    mine = "(SELECT id FROM messages WHERE question = :question)"
    await bridge.execute(
        f"UPDATE segments SET message_id = message_id - :back WHERE message_id IN {mine}",
        back=back,
        question=question,
    )
    await bridge.execute(
        "UPDATE messages SET id = id - :back WHERE question = :question",
        back=back,
        question=question,
    )


async def test_raw_bodies_go_first_then_texts_with_their_rows(inside: StartInside) -> None:
    """An hour, ten days, a hundred days old."""
    async with inside(MESSAGE_PROCESSING_MAX_RETRY_COUNT="0") as bridge:
        for question in ("新", "旧", "老"):
            await bridge.hear(question)
        await bridge.until_settled(3)
        await bridge.runtime.stages.flush()
        await age(bridge, "旧", 10)
        await age(bridge, "老", 100)
        at = (utc_now() - timedelta(days=100)).strftime("%Y-%m-%d %H:%M:%S.%f")
        await bridge.execute("UPDATE conversations SET updated_at = :at, created_at = :at", at=at)
        keeper = retention(bridge)
        first, second = await keeper.remove_old(), await keeper.remove_old()
        messages = await bridge.rows("SELECT question, raw, text FROM messages ORDER BY id DESC")
        segments = await bridge.rows(
            "SELECT 1 FROM segments WHERE message_id NOT IN (SELECT id FROM messages)"
        )
        turns = await bridge.rows("SELECT 1 FROM conversations")

    assert [row["question"] for row in messages] == ["新", "旧"]
    assert [bool(row["raw"]) for row in messages] == [True, False]
    assert [bool(row["text"]) for row in messages] == [True, True]
    assert (segments, turns) == ([], [])
    assert (first > 0, second) == (True, 0)


async def test_texts_may_go_before_the_row_that_knows_duplicates(inside: StartInside) -> None:
    """``text_days`` shorter than ``dedupe_days``: a late second delivery is still known."""
    ages = Ages(text=timedelta(days=1), raw=timedelta(days=1), dedupe=timedelta(days=7))
    async with inside() as bridge:
        body = bridge.callback("旧")
        await bridge.take(body)
        await bridge.until_settled(1)
        await bridge.runtime.stages.flush()
        await bridge.execute("UPDATE messages SET error = '不允许:旧'")
        await age(bridge, "旧", 3)
        await retention(bridge, ages).remove_old()
        again = await bridge.take(body)
        [row] = await bridge.rows("SELECT text, question, raw, error, deliveries FROM messages")

    assert type(again).__name__ == "Duplicate"
    assert (row["text"], row["question"], row["raw"], row["deliveries"]) == (None, None, None, 2)
    assert row["error"] == ""


@INSIDE_EMBEDDED
async def test_what_is_not_finished_is_never_removed(inside: StartInside) -> None:
    """However old it is: it waits for Dify or for its sending."""
    async with inside(works=False) as bridge:
        await bridge.hear("等")
        await age(bridge, "等", 1000)
        touched = await retention(bridge).remove_old()
        [row] = await bridge.rows("SELECT question, raw FROM messages")

    assert touched == 0
    assert (row["question"], bool(row["raw"])) == ("等", True)


async def test_ignored_rows_go_after_the_days_of_deduplication(inside: StartInside) -> None:
    """In as many batches as it takes."""
    async with inside(works=False) as bridge:
        for _ in range(3):
            await bridge.take(b"not json")
        back = (31 * 86_400_000) << LOW_BITS
        await bridge.execute("UPDATE messages SET id = id - :back", back=back)
        await bridge.take(b"not json either")
        await retention(bridge).remove_old()
        rows = await bridge.rows("SELECT verdict FROM messages")

    assert [row["verdict"] for row in rows] == ["bad_json"]
