"""``failed``: what was given up, why, and letting it go on."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.choice import Cause, Group, Since, Until, User, chosen, parse_ids
from app.commands.database import with_database
from app.commands.letters_shown import shown_cause, shown_letter, shown_message, told_message
from app.commands.output import AsJson, fail, print_json, print_table
from app.commands.replay import replay

if TYPE_CHECKING:
    from app.services.dead_letters import CauseCount
    from app.services.letters import Letter
    from app.services.store import Store

failed = typer.Typer(help="查看和重放死信:放弃了的消息,和没有发出去的回答。", no_args_is_help=True)
failed.command("replay")(replay)


@failed.command("list")
def failed_list(
    since: Since = None,
    until: Until = None,
    cause: Cause = None,
    user: User = None,
    group: Group = None,
    limit: Annotated[
        int, typer.Option("--limit", min=0, max=100_000, help="最多列出的消息数;0 只看计数")
    ] = 50,
    before: Annotated[
        str | None, typer.Option("--before", metavar="ID", help="接着往前看:只列出编号更小的")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """列出死信,最近的在前;最后按原因计数(全部符合条件的,不只是列出的)。"""
    choice = chosen(since, until, cause, user, group)
    below = None if before is None else parse_ids([before])[0]

    async def read(store: "Store") -> "tuple[list[Letter], list[CauseCount]]":
        from app.services.dead_letters import DeadLetters  # noqa: PLC0415 - late

        found = DeadLetters(store)
        # One more than is shown tells whether there are more.
        return await found.newest(choice, before=below, limit=limit + 1), await found.counts(choice)

    letters, causes = with_database(read)
    shown = [shown_letter(letter) for letter in letters[:limit]]
    following = shown[-1]["id"] if shown and len(letters) > limit else None
    counts = [shown_cause(one) for one in causes]
    if as_json:
        total = sum(one.count for one in causes)
        print_json({"total": total, "causes": counts, "before": following, "letters": shown})
    else:
        _tell_list(shown, counts, following)


@failed.command("show")
def failed_show(
    message: Annotated[str, typer.Argument(metavar="ID", help="消息编号")],
    *,
    as_json: AsJson = False,
) -> None:
    """显示一条消息的一切:结论、错误、时间、Dify 的编号、问题、各段,以及能否重放、怎样接着做。"""
    [message_id] = parse_ids([message])

    async def read(store: "Store") -> dict[str, Any] | None:
        from app.services.dead_letters import DeadLetters  # noqa: PLC0415 - late

        found = await DeadLetters(store).whole(message_id)
        return None if found is None else shown_message(found)

    shown = with_database(read)
    if shown is None:
        fail(f"没有编号为 {message_id} 的消息。")
    if as_json:
        print_json(shown)
    else:
        typer.echo(told_message(shown))


def _tell_list(
    letters: list[dict[str, Any]], causes: list[dict[str, Any]], following: str | None
) -> None:
    if not causes:
        typer.echo("没有符合条件的死信。")
        return
    if letters:
        print_table(
            ("消息编号", "收到时间", "用户", "群", "原因", "重试", "崩溃", "已发/段", "重放"),
            [
                (
                    one["id"],
                    one["received_at"],
                    one["user"],
                    one["group"],
                    one["cause"],
                    str(one["attempts"]),
                    str(one["crashes"]),
                    f"{one['segments_sent']}/{one['segments']}",
                    str(one["replays"]),
                )
                for one in letters
            ],
        )
        typer.echo()
    print_table(
        ("原因", "数量", "最早", "最近"),
        [(one["cause"], str(one["count"]), one["first"], one["last"]) for one in causes],
    )
    more = "" if following is None else f";更早的:--before {following}"
    typer.echo(f"共 {sum(one['count'] for one in causes)} 条{more}")
