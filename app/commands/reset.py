"""``conversations reset``: the next question begins a new conversation in Dify."""

from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.choice import User, chosen
from app.commands.database import with_database
from app.commands.output import AsJson, print_json, printable

if TYPE_CHECKING:
    from app.services.store import Store

#: Seconds of one transaction at most.
SECONDS = 30.0


def reset(
    group: Annotated[str, typer.Option("--group", help="群的编号")],
    user: User = None,
    *,
    as_json: AsJson = False,
) -> None:
    """
    重置对话:这个群里(或其中一个人)的下一个问题,在 Dify 里开始新的对话。

    群里的话、对话记录都不动;等着填的表单作废;正在回答的照样答完。
    """
    from app.models.flow import WcId  # noqa: PLC0415 - late
    from app.services.audit import ON_THE_MACHINE, Deed  # noqa: PLC0415 - late
    from app.services.resets import reset_conversations  # noqa: PLC0415 - late

    choice = chosen(None, None, None, user, group)
    meant, person = WcId(choice.group_id or ""), choice.user
    by = Deed(
        operator=ON_THE_MACHINE,
        action="conversation.reset",
        subject=person or meant,
        before=meant if person else "",
    )

    async def work(store: "Store") -> int:
        return await reset_conversations(store, meant, person, by=by)

    count = with_database(work, seconds=SECONDS)
    if as_json:
        shown = {"group": printable(meant), "user": None if person is None else printable(person)}
        print_json({**shown, "reset": count})
    else:
        typer.echo(f"重置了 {count} 个进行中的对话。")
