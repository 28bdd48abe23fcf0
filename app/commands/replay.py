"""``failed replay``: dead letters go on where they stopped."""

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.choice import Cause, Group, Since, Until, User, chosen, parse_ids
from app.commands.database import with_database
from app.commands.letters_shown import REFUSAL_WORDS, refusal_lines
from app.commands.output import FAILED, WRONG_USE, AsJson, fail, print_json

if TYPE_CHECKING:
    from app.models.flow import MessageId, WcId
    from app.services.dead_letters import Choice
    from app.services.letters import Letter, Refusal, ReplayOptions, Resumption
    from app.services.store import Store

#: Seconds of one transaction at most.
SECONDS = 30.0
#: A line of progress after so many messages.
TELL_EVERY = 200
#: Messages that are not replayed, one line each.
REFUSED_AT_MOST = 50


@dataclass(slots=True)
class Tally:
    """What becomes of the chosen, or what would."""

    ids: "list[MessageId]" = field(default_factory=list)
    users: "set[WcId]" = field(default_factory=set)
    asks: int = 0
    refused: "list[tuple[int, Refusal]]" = field(default_factory=list)

    def take(self, letters: "Sequence[Letter]", options: "ReplayOptions") -> None:
        """Decide on some of the chosen and count what would become of them."""
        from app.services.letters import decide_replay  # noqa: PLC0415 - late

        for letter in letters:
            decision = decide_replay(letter, options)
            self.count(letter.id, decision)
            if not isinstance(decision, str):
                self.users.add(letter.user)

    def count(self, message_id: "MessageId", decision: "Resumption | Refusal") -> None:
        """Count one decision."""
        if isinstance(decision, str):
            self.refused.append((message_id, decision))
            return
        self.ids.append(message_id)
        self.asks += decision.way == "ask"

    @property
    def words(self) -> str:
        """The same in words."""
        return f"{len(self.ids)} 条:{self.asks} 条重新提问 Dify,{len(self.ids) - self.asks} 条只继续发送"

    def shown(self, *, is_dry_run: bool) -> dict[str, Any]:
        """The same for programs."""
        return {
            "dry_run": is_dry_run,
            "replayed": len(self.ids),
            "users": len(self.users),
            "asks": self.asks,
            "sends": len(self.ids) - self.asks,
            "ids": [str(message_id) for message_id in self.ids],
            "refused": [
                {"id": str(message_id), "reason": str(why)} for message_id, why in self.refused
            ],
        }


def replay(
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID", help="消息编号")] = None,
    since: Since = None,
    until: Until = None,
    cause: Cause = None,
    user: User = None,
    group: Group = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="全部死信")] = False,
    ask_again: Annotated[
        bool, typer.Option("--ask-again", help="回答一段也没有发出的,重新提问 Dify,而不是补发")
    ] = False,
    resend_unknown: Annotated[
        bool, typer.Option("--resend-unknown", help="不确定的段(可能已在群里)也重发")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="只试算,不改动")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="不再询问")] = False,
    as_json: AsJson = False,
) -> None:
    """
    让死信接着做:没有回答的重新提问 Dify,有回答的只补发没有发出的段;已发的从不重复。

    编号不变。写出编号,或用条件选择,或用 --all,三者取一。服务运行时几秒内开始,停着时启动后开始。
    """
    from app.services.letters import ReplayOptions  # noqa: PLC0415 - late

    typed = (since, until, cause, user, group)
    filters, named = chosen(*typed), parse_ids(ids or [])
    _check_choice([bool(named), any(typed), everything])
    options = ReplayOptions(ask_again=ask_again, resend_unknown=resend_unknown)
    tally = with_database(
        lambda store: _estimate(store, named or filters, options), seconds=SECONDS
    )
    error = ""
    if tally.ids and not dry_run:
        _confirm(tally, yes=yes)
        tally, error = with_database(
            lambda store: _carry_out(store, tally, options), seconds=SECONDS
        )
    if as_json:
        print_json(tally.shown(is_dry_run=dry_run))
    else:
        _tell(tally, is_dry_run=dry_run)
    if error:
        fail(f"数据库中途不可用({error}):已重放的有效,其余没有动,再运行一次即可。")
    if named and tally.refused:
        raise typer.Exit(FAILED)


def _check_choice(ways: "Sequence[bool]") -> None:
    """Exactly one way of choosing was used."""
    if not any(ways):
        fail("要重放哪些?写出编号,或用 --since 等条件,或用 --all。", WRONG_USE)
    if sum(ways) > 1:
        fail("编号、条件、--all 三者取一。", WRONG_USE)


async def _estimate(
    store: "Store", choice: "Choice | list[int]", options: "ReplayOptions"
) -> Tally:
    """What would become of the chosen."""
    from app.services.dead_letters import DeadLetters  # noqa: PLC0415 - late
    from app.services.letters import Refusal  # noqa: PLC0415 - late

    found, tally = DeadLetters(store), Tally()
    if isinstance(choice, list):
        letters = await found.named(choice)
        known = {letter.id for letter in letters}
        tally.refused = [(one, Refusal.NOT_FOUND) for one in choice if one not in known]
        tally.take(letters, options)
        return tally
    async for page in found.pages(choice):
        tally.take(page, options)
    return tally


def _confirm(tally: Tally, *, yes: bool) -> None:
    if yes or len(tally.ids) == 1:
        return
    if not is_interactive():
        fail(f"会重放 {tally.words};不止一条,而这里没有人可问:请加 --yes。", WRONG_USE)
    question = f"将重放 {tally.words}({len(tally.users)} 个用户)。确定吗?"
    if not typer.confirm(question, err=True):
        fail("没有重放。")


def is_interactive() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty()


async def _carry_out(store: "Store", planned: Tally, options: "ReplayOptions") -> tuple[Tally, str]:
    """What became of them, and why it ended early; empty: it did not."""
    from app.services.errors import StoreUnavailable  # noqa: PLC0415 - late
    from app.services.replay import Replay  # noqa: PLC0415 - late

    tally = Tally(users=planned.users, refused=planned.refused)
    try:
        async for message_id, decision in Replay(store, options).run(planned.ids):
            tally.count(message_id, decision)
            if len(tally.ids) % TELL_EVERY == 0 and tally.ids:
                typer.echo(f"已重放 {len(tally.ids)} / {len(planned.ids)}", err=True)
    except StoreUnavailable as error:
        return tally, str(error)
    except asyncio.CancelledError:
        typer.echo(f"中断:已重放 {len(tally.ids)} 条,其余没有动。", err=True)
        raise
    return tally, ""


def _tell(tally: Tally, *, is_dry_run: bool) -> None:
    if not tally.ids and not tally.refused:
        typer.echo("没有符合条件的死信。")
        return
    begins = "试算,没有改动:会重放" if is_dry_run else "已重放"
    typer.echo(f"{begins} {tally.words}({len(tally.users)} 个用户)。")
    if tally.refused:
        typer.echo(
            f"{'不会重放' if is_dry_run else '没有重放'} {len(tally.refused)} 条:{_reasons(tally)}"
        )
        for line in refusal_lines(tally.refused, at_most=REFUSED_AT_MOST):
            typer.echo(line)
    if tally.ids and not is_dry_run:
        typer.echo("服务在几秒内接着处理;停着时,启动后处理。")


def _reasons(tally: Tally) -> str:
    counts = Counter(REFUSAL_WORDS[why] for _, why in tally.refused)
    return ";".join(f"{count} 条{words}" for words, count in counts.most_common())
