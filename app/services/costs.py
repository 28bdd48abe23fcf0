"""What answers cost and how long they took, summed up per app or group. Reads only."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from sqlalchemy import bindparam, select

from app.models.message import MESSAGES
from app.services.store import Store
from app.utils.ids import id_at

#: Rows that are read at a time.
PAGE = 2000

_M = MESSAGES.c
_ANSWERED = (
    select(
        _M.id,
        _M.dify_app,
        _M.group_id,
        _M.total_tokens,
        _M.prompt_tokens,
        _M.completion_tokens,
        _M.total_price,
        _M.currency,
        _M.asked_at,
        _M.first_text_at,
        _M.answered_at,
    )
    .where(_M.id > bindparam("after"), _M.answered_at.is_not(None))
    .order_by(_M.id)
    .limit(bindparam("page"))
)


@dataclass(kw_only=True, slots=True)
class Costs:
    """Of the answers of one app or group."""

    answers: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    #: More than the two together where only the sum is known.
    total_tokens: int = 0
    #: By currency; what Dify says of the models that have a price there.
    prices: dict[str, Decimal] = field(default_factory=dict)
    #: Seconds from the question to Dify until the answer was saved, and until its first text.
    answer_seconds: list[float] = field(default_factory=list)
    first_text_seconds: list[float] = field(default_factory=list)

    def add(self, row: Any) -> None:
        """One more answer."""
        self.answers += 1
        self.prompt_tokens += row.prompt_tokens or 0
        self.completion_tokens += row.completion_tokens or 0
        self.total_tokens += row.total_tokens or 0
        price = _price(row.total_price)
        if price:
            self.prices[row.currency] = self.prices.get(row.currency, Decimal(0)) + price
        _note(self.answer_seconds, row.asked_at, row.answered_at)
        _note(self.first_text_seconds, row.asked_at, row.first_text_at)


async def read_costs(store: Store, *, since: float, by: str) -> dict[str, Costs]:
    """
    Costs of what was received since then, by the value of a column.

    Args:
        since: seconds since 1970.
        by: ``dify_app`` or ``group_id``.

    Raises:
        StoreUnavailable: nothing is known.
    """
    costs: dict[str, Costs] = {}
    after = id_at(since) - 1
    while True:
        async with store.read() as connection:
            rows = (await connection.execute(_ANSWERED, {"after": after, "page": PAGE})).all()
        for row in rows:
            costs.setdefault(getattr(row, by), Costs()).add(row)
        if len(rows) < PAGE:
            return costs
        after = rows[-1].id


def _price(text: str) -> Decimal:
    try:
        price = Decimal(text or "0")
    except InvalidOperation:
        return Decimal(0)
    return price if price.is_finite() else Decimal(0)


def _note(seconds: list[float], begun: datetime | None, ended: datetime | None) -> None:
    if begun is not None and ended is not None:
        seconds.append(max(0.0, (ended - begun).total_seconds()))
