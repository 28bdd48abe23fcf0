"""``usage``: what answers cost and how long they took. Reads only."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.choice import Since, parse_moment
from app.commands.database import with_database
from app.commands.output import WRONG_USE, AsJson, fail, print_json, print_table, printable

if TYPE_CHECKING:
    from app.services.costs import Costs
    from app.services.store import Store


class By(StrEnum):
    """Whose costs are summed up."""

    APP = "app"
    GROUP = "group"


_COLUMN = {By.APP: "dify_app", By.GROUP: "group_id"}
_NAME = {By.APP: "应用", By.GROUP: "群"}


def usage(
    since: Since = "24h",
    by: Annotated[By, typer.Option("--by", help="按应用还是按群")] = By.APP,
    *,
    as_json: AsJson = False,
) -> None:
    """统计回答的数量、token、价格和用时(从提问到写完、到第一个字),默认最近 24 小时。"""
    try:
        moment = parse_moment(since or "24h", datetime.now(UTC))
    except ValueError as error:
        fail(str(error), WRONG_USE)

    async def read(store: "Store") -> "dict[str, Costs]":
        from app.services.costs import read_costs  # noqa: PLC0415 - late

        return await read_costs(store, since=moment.timestamp(), by=_COLUMN[by])

    found = with_database(read)
    shown = [shown_costs(name, found[name], by) for name in sorted(found)]
    if as_json:
        print_json({"since": moment.isoformat(), "usage": shown})
        return
    print_table(
        (
            _NAME[by],
            "回答",
            "提示 token",
            "回答 token",
            "token 合计",
            "价格",
            "写完 p50/p95",
            "首字 p50/p95",
        ),
        [
            (
                one[by],
                str(one["answers"]),
                str(one["prompt_tokens"]),
                str(one["completion_tokens"]),
                str(one["total_tokens"]),
                "、".join(f"{price} {name}" for name, price in one["prices"].items()) or "-",
                _pair(one["answer_seconds"]),
                _pair(one["first_text_seconds"]),
            )
            for one in shown
        ],
    )


def shown_costs(name: str, costs: "Costs", by: str) -> dict[str, Any]:
    """The costs of one as they are printed for programs (pure)."""
    return {
        by: printable(name),
        "answers": costs.answers,
        "prompt_tokens": costs.prompt_tokens,
        "completion_tokens": costs.completion_tokens,
        "total_tokens": costs.total_tokens,
        "prices": {printable(name): f"{price:f}" for name, price in sorted(costs.prices.items())},
        "answer_seconds": _quantiles(costs.answer_seconds),
        "first_text_seconds": _quantiles(costs.first_text_seconds),
    }


def _quantiles(seconds: list[float]) -> dict[str, float]:
    """Nearest ranks; empty: nothing was measured."""
    ordered = sorted(seconds)
    last = len(ordered) - 1
    ranks = {"p50": last // 2, "p95": round(last * 0.95)}
    return {name: round(ordered[rank], 3) for name, rank in ranks.items()} if ordered else {}


def _pair(quantiles: dict[str, float]) -> str:
    return f"{quantiles['p50']:g} / {quantiles['p95']:g} 秒" if quantiles else "-"
