"""Which messages a command is about: times, ids and filters, as they are typed."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.output import WRONG_USE, fail
from app.utils.ids import parse_id

if TYPE_CHECKING:
    from app.models.flow import WcId
    from app.services.dead_letters import Choice

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

Since = Annotated[
    str | None,
    typer.Option("--since", help="从何时起收到的:本地时间(ISO),或多久以前,如 30m、2h、3d"),
]
Until = Annotated[str | None, typer.Option("--until", help="到何时为止收到的(不含),写法同 --since")]
Cause = Annotated[
    str | None, typer.Option("--cause", help="原因,如 dify_rejected、not_sent(前面的 failed: 可省)")
]
User = Annotated[str | None, typer.Option("--user", help="提问的人的 wxid")]
Group = Annotated[str | None, typer.Option("--group", help="群的编号")]


def parse_wxid(text: str) -> "WcId":
    """A wxid as it was typed; ends the command where it can be none."""
    from app.models.flow import WcId  # noqa: PLC0415 - late

    if not text.strip() or not text.isprintable():
        fail("wxid 是空的,或有看不见的字符。", WRONG_USE)
    return WcId(text.strip())


def chosen(
    since: str | None, until: str | None, cause: str | None, user: str | None, group: str | None
) -> "Choice":
    """The filters as they were typed; ends the command where one means nothing."""
    from app.models.flow import WcId  # noqa: PLC0415 - late
    from app.services.dead_letters import Choice  # noqa: PLC0415 - late

    now = datetime.now(UTC)
    named = {"--since": since, "--until": until, "--cause": cause, "--user": user, "--group": group}
    for option, value in named.items():
        if value is not None and not value.strip():
            # An empty variable of a script must not mean everybody.
            fail(f"{option} 后面是空的。", WRONG_USE)
        if value is not None and not value.isprintable():
            # Also what is not UTF-8: no database would take it.
            fail(f"{option} 后面有看不见的字符:{value!r}", WRONG_USE)
    try:
        begins = None if since is None else parse_moment(since, now)
        ends = None if until is None else parse_moment(until, now)
    except ValueError as error:
        fail(str(error), WRONG_USE)
    if begins is not None and ends is not None and ends <= begins:
        fail("--until 要晚于 --since。", WRONG_USE)
    return Choice(
        since=begins,
        until=ends,
        cause=None if cause is None else cause.strip().removeprefix("failed:"),
        user=None if user is None else WcId(user.strip()),
        group_id=None if group is None else WcId(group.strip()),
    )


def parse_moment(text: str, now: datetime) -> datetime:
    """
    A local time or an age as an aware time (pure but for the machine's zone).

    Raises:
        ValueError: it is neither; the text says what may be written.
    """
    wrong = ValueError(
        f"看不懂的时间 {text!r}:写本地时间,如 2026-01-31 或 2026-01-31T08:00,或多久以前,如 30m、2h、3d。"
    )
    age = re.fullmatch(r"([0-9]{1,9})([smhd])", text.strip())
    try:
        if age:
            return now - timedelta(**{_UNITS[age[2]]: int(age[1])})
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise wrong from None


def parse_ids(texts: Sequence[str]) -> list[int]:
    """Message ids as they were typed, each once, in the order of receipt; ends the command at others."""
    ids = set()
    for text in texts:
        if not (parsed := parse_id(text)):
            fail(f"不是消息编号:{text!r}", WRONG_USE)
        ids.add(parsed)
    return sorted(ids)
