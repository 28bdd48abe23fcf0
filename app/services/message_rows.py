"""Values for many rows of ``messages`` at once: one statement where the driver would make one per row."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import bindparam, or_, update
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.message import MESSAGES, UNFINISHED

THIS_ID, THIS_FENCE = "this_id", "this_fence"

_THIS = MESSAGES.c.id == bindparam(THIS_ID)
_NOT_OLDER = MESSAGES.c.fence <= bindparam(THIS_FENCE)
# No IN: its list would be expanded for each row, which many rows at once do not allow.
_WAITS = or_(*(MESSAGES.c.state == state for state in UNFINISHED))
#: By whether there is a fence, and whether the message has to be unfinished.
_WRITES = {
    (False, False): update(MESSAGES).where(_THIS),
    (True, False): update(MESSAGES).where(_THIS, _NOT_OLDER),
    (False, True): update(MESSAGES).where(_THIS, _WAITS),
    (True, True): update(MESSAGES).where(_THIS, _NOT_OLDER, _WAITS),
}


async def write_rows(
    connection: AsyncConnection,
    rows: Sequence[Mapping[str, Any]],
    *,
    has_fence: bool,
    while_unfinished: bool,
) -> None:
    """
    Give each message values of its own; no message may be in it twice.

    Args:
        rows: all with the same names: columns, ``this_id``, and ``this_fence`` if there is one.
        has_fence: a row is left alone if a newer claim wrote it.
        while_unfinished: a row is left alone if the message has its outcome.
    """
    if connection.dialect.name == "sqlite" or len(rows) == 1:
        await connection.execute(_WRITES[has_fence, while_unfinished], list(rows))
        return
    names = tuple(sorted(rows[0]))
    bound = [_binding(connection.dialect, name) for name in names]
    values = tuple(bind(row[name]) for row in rows for name, bind in zip(names, bound, strict=True))
    statement = _joined(names, len(rows), has_fence=has_fence, while_unfinished=while_unfinished)
    await connection.exec_driver_sql(statement, values)


@lru_cache(maxsize=64)
def _joined(names: tuple[str, ...], count: int, *, has_fence: bool, while_unfinished: bool) -> str:
    """An update by a join with the rows themselves, as MySQL and MariaDB understand it (pure)."""
    first = ", ".join(f"%s AS `{name}`" for name in names)
    others = f" UNION ALL SELECT {', '.join(['%s'] * len(names))}" * (count - 1)
    columns = [name for name in names if name not in (THIS_ID, THIS_FENCE)]
    changes = ", ".join(f"m.`{name}` = v.`{name}`" for name in columns)
    waits = " OR ".join(f"m.state = '{state}'" for state in UNFINISHED)
    conditions = ["m.id = v.this_id"]
    conditions += ["m.fence <= v.this_fence"] if has_fence else []
    conditions += [f"({waits})"] if while_unfinished else []
    # The rows first, each message by its key: else all that is unfinished may be read, and locked.
    return (
        f"UPDATE (SELECT {first}{others}) AS v "  # noqa: S608 - names of ours
        "STRAIGHT_JOIN messages AS m FORCE INDEX (PRIMARY) "
        f"ON {' AND '.join(conditions)} SET {changes}"
    )


@lru_cache(maxsize=256)
def _binding(dialect: Dialect, name: str) -> Callable[[Any], Any]:
    """How a value of this column is given to the driver."""
    column = MESSAGES.c[{THIS_ID: "id", THIS_FENCE: "fence"}.get(name, name)]
    return column.type.dialect_impl(dialect).bind_processor(dialect) or _as_it_is


def _as_it_is(value: Any) -> Any:
    return value
