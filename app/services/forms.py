"""Forms that wait for a person: kept in SQL, since any replica may get the reply."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import bindparam, delete, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.flow import Answer, Form, FormAction, Origin, PendingForm, SegmentKind, Turn, WcId
from app.models.pending_form import PENDING_FORMS, PendingFormRow
from app.models.segment import SEGMENTS, SegmentState
from app.services.stages import utc_now
from app.services.store import Store, upsert

_P = PENDING_FORMS.c
_KEY = ["app", "bot_wc_id", "group_id", "from_user"]
_LONGEST_TOKEN = 255
_LONGEST_ID = 64
_OF_PERSON = (
    (_P.bot_wc_id == bindparam("this_bot"))
    & (_P.group_id == bindparam("this_group"))
    & (_P.from_user == bindparam("this_user"))
)
_IS_YOUNG = or_(_P.expires_at.is_(None), _P.expires_at > bindparam("now"))
_PENDS = select(_P.id).where(_OF_PERSON, _IS_YOUNG).limit(1)
_THIS = _OF_PERSON & (_P.app == bindparam("this_app"))
_LOAD = select(PENDING_FORMS).where(_THIS)
_DROP = delete(PENDING_FORMS).where(_THIS)
#: States of a segment that the group has seen, or perhaps has.
_SEEN = (SegmentState.SENDING, SegmentState.SENT, SegmentState.UNKNOWN)
#: The text that the answer ends with is the form.
_SHOWN = (
    select(SEGMENTS.c.state, SEGMENTS.c.sending_at)
    .where(SEGMENTS.c.message_id == bindparam("this_id"), SEGMENTS.c.kind == SegmentKind.TEXT)
    .order_by(SEGMENTS.c.seq.desc())
    .limit(1)
)


class Forms:
    """Forms that were offered and not filled in."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def pends(self, origin: Origin) -> bool:
        """
        Whether any app waits for the person who speaks.

        Raises:
            StoreUnavailable: nothing is known.
        """
        this = _this_person(origin.bot_wc_id, origin.group_id, origin.from_user)
        async with self._store.read() as connection:
            return await connection.scalar(_PENDS, {**this, "now": utc_now()}) is not None

    async def drop(self, turn: Turn) -> None:
        """
        Nothing waits for this person any more.

        Raises:
            StoreUnavailable: it is unknown whether it is dropped.
        """
        await self._store.transact(lambda connection: drop_form(connection, turn))


async def load_form(connection: AsyncConnection, turn: Turn) -> PendingForm | None:
    """
    What the turn's app wants its person to fill in.

    Returns:
        None: nothing, or under another key, or what he said is older than the form in the group.
    """
    row = (await connection.execute(_LOAD, _this(turn))).first()
    if row is None or row.key_digest != turn.key_digest:
        return None
    if not await _could_answer(connection, turn, row):
        return None
    return PendingForm(
        form=Form(
            token=row.token,
            actions=tuple(FormAction(one["id"], one["title"]) for one in row.form["actions"]),
            fields=tuple(row.form["fields"]),
            expires_at=row.expires_at,
            said=row.said,
        ),
        bot_wc_id=WcId(row.bot_wc_id),
        conversation_id=row.dify_conversation_id,
        dify_message_id=row.dify_message_id,
        task_id=row.dify_task_id,
        workflow_run_id=row.dify_run_id,
    )


async def _could_answer(connection: AsyncConnection, turn: Turn, row: Any) -> bool:
    """Whether the form was in the group, or on its way there, when the turn's message came."""
    if turn.received_at is None or turn.received_at < row.offered_at:
        return False
    shown = (await connection.execute(_SHOWN, {"this_id": row.message_id})).first()
    if shown is None:
        return True
    is_called = shown.sending_at is not None and shown.sending_at <= turn.received_at
    return is_called and shown.state in _SEEN


async def save_form(connection: AsyncConnection, turn: Turn, answer: Answer, form: Form) -> None:
    """The answer ends with a form: the person's next reply fills it in."""
    values: dict[str, Any] = {
        "app": turn.app,
        "bot_wc_id": turn.bot_wc_id,
        "group_id": turn.group_id,
        "from_user": turn.user,
        "message_id": turn.message_id,
        "key_digest": turn.key_digest,
        "token": form.token[:_LONGEST_TOKEN],
        "dify_conversation_id": answer.conversation_id[:_LONGEST_ID],
        "dify_message_id": answer.dify_message_id[:_LONGEST_ID],
        "dify_task_id": answer.task_id[:_LONGEST_ID],
        "dify_run_id": answer.workflow_run_id[:_LONGEST_ID],
        "form": {
            "actions": [{"id": one.id, "title": one.title} for one in form.actions],
            "fields": list(form.fields),
        },
        "said": form.said,
        "expires_at": form.expires_at,
        "offered_at": utc_now(),
    }
    changes = {name: value for name, value in values.items() if name not in _KEY}
    await connection.execute(upsert(connection, PendingFormRow, values, key=_KEY, changes=changes))


async def drop_form(connection: AsyncConnection, turn: Turn) -> None:
    """The form is filled in, or gone; it is of the account that offered it."""
    owner = turn.form.bot_wc_id if turn.form is not None else ""
    await connection.execute(_DROP, {**_this(turn), "this_bot": owner or turn.bot_wc_id})


def _this_person(bot: str, group: str, user: str) -> dict[str, Any]:
    return {"this_bot": bot, "this_group": group, "this_user": user}


def _this(turn: Turn) -> dict[str, Any]:
    person = _this_person(turn.bot_wc_id, turn.group_id, turn.user)
    return {**person, "this_app": turn.app}


def is_expired(form: Form, now: float) -> bool:
    """Whether Dify takes it no more (pure)."""
    return form.expires_at is not None and datetime.fromtimestamp(now, UTC) >= form.expires_at
