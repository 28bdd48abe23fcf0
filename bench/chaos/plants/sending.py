"""Defects of the senders."""

from typing import Any

from sqlalchemy import bindparam

from bench.chaos.plants.kit import exchange, planted


@planted(
    "no-outbox-mark", "segments are sent without being marked, receipts are written at leisure"
)
def no_outbox_mark() -> None:
    """After a kill everything since the last pause is sent again."""
    from app.models.segment import SEGMENTS
    from app.services import outbox_table
    from app.services.outbox import Outbox
    from app.workers.sender import AccountSender

    receipts: list[Any] = []

    async def mark_sending(self: Any, segment: Any, *, sender: str, sent: Any) -> bool:
        if sent is not None:
            receipts.append(sent)
        return True

    def make_idle(idle: Any) -> Any:
        async def write_and_idle(self: Any, *arguments: Any) -> None:
            while receipts:
                await self._outbox.mark_sent(receipts.pop(0))
            await idle(self, *arguments)

        return write_and_idle

    this_row = SEGMENTS.update().where(SEGMENTS.c.id == bindparam("this_id"))
    exchange(outbox_table, "_MARK_SENT", lambda _: this_row.values(state="sent", error=""))
    exchange(Outbox, "mark_sending", lambda _: mark_sending)
    exchange(AccountSender, "_idle", make_idle)


@planted("failed-send-drops", "what could not be sent at the first try is dropped")
def failed_send_drops() -> None:
    """No answer waits."""
    from app.workers.failed_calls import FailedCalls

    async def settle(self: Any, lane: Any, w_id: str, error: Any) -> None:
        await self._debts.give_up(lane, "planted")

    exchange(FailedCalls, "settle", lambda _: settle)
