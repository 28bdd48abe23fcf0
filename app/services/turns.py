"""
Opening a turn: what a claim from Redis means, looked up in SQL, which is the truth.

The list in Redis may be behind, ahead, or in another order after a failover; here it is found out,
under the lease, before anything is asked or sent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import BigInteger, bindparam, case, func, select, union
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.account import GROUPS
from app.models.contact import CONTACTS, GROUP_MEMBERS
from app.models.conversation import SESSIONS
from app.models.flow import DEFAULT_APP, Asking, Claim, MessageId, Turn, WcId
from app.models.message import MESSAGES, UNFINISHED
from app.models.pending_form import PENDING_FORMS
from app.models.segment import SEGMENTS
from app.services.forms import load_form
from app.services.groups import Groups
from app.services.owed_segments import live_segments
from app.services.store import Store
from app.services.text import clean_nickname
from app.services.voice_text import SPOKEN, voice_of


@dataclass(frozen=True, slots=True)
class OutOfOrder:
    """An older message of this user waits: the list must be rewritten to begin with these."""

    message_ids: tuple[MessageId, ...]


@dataclass(frozen=True, slots=True)
class AlreadySettled:
    """The message has its outcome; its entry is a leftover."""


@dataclass(frozen=True, slots=True)
class FormerLife:
    """
    The message was given up, and then an operator let it go on: the entry, with what it counts, is
    of the time before. The sweep brings a new one.
    """


@dataclass(frozen=True, slots=True)
class UnknownEntry:
    """SQL knows no such message of this user: it is in a spill file, or somebody's hand put it there."""

    #: The first of this user's messages that SQL knows and that wait, oldest first.
    waiting: tuple[MessageId, ...] = ()


@dataclass(frozen=True, slots=True)
class FenceBehind:
    """The row was written under a greater fence: the clock of Redis went back."""

    row_fence: int


Opening = Turn | OutOfOrder | AlreadySettled | FormerLife | UnknownEntry | FenceBehind


_M = MESSAGES.c
_WAITS = (_M.from_user == bindparam("this_user")) & _M.state.in_(UNFINISHED)


_CLAIMED = select(bindparam("this_id", type_=BigInteger).label("id"))


def _wanted() -> Any:
    """
    Ids of the claimed message and of its user's oldest ones that wait, one of each state.

    Each is one look into an index, however much waits; "this one or that one" in one condition
    would be a look at every message that there is.
    """
    oldest = (
        select(func.min(_M.id)).where(_M.from_user == bindparam("this_user"), _M.state == state)
        for state in UNFINISHED
    )
    return union(_CLAIMED, *oldest).subquery("wanted")


def _look(wanted: Any) -> Any:
    """
    Messages with what a turn needs beside them.

    By one statement: each is a round trip that somebody waits for.
    """
    last_seq = (
        select(func.max(SEGMENTS.c.seq))
        .where(SEGMENTS.c.message_id == _M.id)
        .correlate(MESSAGES)
        .scalar_subquery()
    )
    app = func.coalesce(
        select(func.nullif(GROUPS.c.dify_app, ""))
        .where(GROUPS.c.bot_wc_id == _M.bot_wc_id, GROUPS.c.group_id == _M.group_id)
        .correlate(MESSAGES)
        .scalar_subquery(),
        DEFAULT_APP,
    )

    def session(column: Any) -> Any:
        is_session = (
            (SESSIONS.c.app == app)
            & (SESSIONS.c.bot_wc_id == _M.bot_wc_id)
            & (SESSIONS.c.group_id == _M.group_id)
            & (SESSIONS.c.from_user == _M.from_user)
        )
        return select(column).where(is_session).correlate(MESSAGES).scalar_subquery()

    is_of_person = (
        (PENDING_FORMS.c.app == app)
        & (PENDING_FORMS.c.bot_wc_id == _M.bot_wc_id)
        & (PENDING_FORMS.c.group_id == _M.group_id)
        & (PENDING_FORMS.c.from_user == _M.from_user)
    )
    form_id = select(PENDING_FORMS.c.id).where(is_of_person).correlate(MESSAGES).scalar_subquery()

    def member(column: Any) -> Any:
        is_member = (GROUP_MEMBERS.c.group_id == _M.group_id) & (
            GROUP_MEMBERS.c.wc_id == _M.from_user
        )
        return select(column).where(is_member).correlate(MESSAGES).scalar_subquery()

    def nick_name(of: Any) -> Any:
        is_contact = CONTACTS.c.wc_id == of
        nick = CONTACTS.c.nick_name
        return select(nick).where(is_contact).correlate(MESSAGES).scalar_subquery()

    return select(
        _M.id,
        _M.state,
        _M.fence,
        _M.bot_wc_id,
        _M.group_id,
        _M.from_user,
        _M.sender_name,
        _M.question,
        # Of what waits to be heard; else it may be long, and is not wanted.
        case((_M.question.is_(None), _M.text)).label("unheard_text"),
        _M.asked_at,
        _M.dify_app,
        _M.dify_conversation_id,
        _M.dify_message_id,
        _M.dify_task_id,
        _M.dify_run_id,
        _M.attempts,
        _M.crashes,
        _M.sole_crashes,
        _M.queued_epoch,
        _M.replayed_at,
        _M.received_at,
        last_seq.label("last_seq"),
        app.label("app"),
        session(SESSIONS.c.conversation_id).label("conversation_id"),
        session(SESSIONS.c.key_digest).label("key_digest"),
        member(GROUP_MEMBERS.c.display_name).label("name_1"),
        member(GROUP_MEMBERS.c.nick_name).label("name_2"),
        nick_name(_M.from_user).label("name_3"),
        nick_name(_M.group_id).label("group_name"),
        form_id.label("form_id"),
    ).select_from(wanted.join(MESSAGES, _M.id == wanted.c.id))


#: The claimed message, and the oldest ones of its user that wait.
_LOOK = _look(_wanted())
_TAKEN = select(_M.dify_message_id).where(
    _M.from_user == bindparam("this_user"),
    _M.dify_message_id.in_(bindparam("these_ids", expanding=True)),
)
_SESSION_WITH = select(SESSIONS.c.conversation_id, SESSIONS.c.key_digest).where(
    SESSIONS.c.app == bindparam("this_app"),
    SESSIONS.c.bot_wc_id == bindparam("this_bot"),
    SESSIONS.c.group_id == bindparam("this_group"),
    SESSIONS.c.from_user == bindparam("this_user"),
)
_SESSION_OF = select(SESSIONS.c.conversation_id, SESSIONS.c.key_digest).where(
    SESSIONS.c.app == bindparam("this_app"),
    _M.id == bindparam("this_id"),
    SESSIONS.c.bot_wc_id == _M.bot_wc_id,
    SESSIONS.c.group_id == _M.group_id,
    SESSIONS.c.from_user == _M.from_user,
)
#: So many messages are put right at once; the next ones when their turn comes.
IN_ORDER_AT_ONCE = 100
_ORDER = select(_M.id).where(_WAITS).order_by(_M.id).limit(IN_ORDER_AT_ONCE)


async def _waiting_ids(connection: AsyncConnection, user: WcId) -> tuple[MessageId, ...]:
    found = await connection.scalars(_ORDER, {"this_user": user})
    return tuple(MessageId(id_) for id_ in found)


class Turns:
    """
    Opens turns.

    Args:
        key_digests: of every app's key, by the app's name.
    """

    def __init__(
        self, *, store: Store, groups: Groups, key_digests: Mapping[str, str] | None = None
    ) -> None:
        self._store = store
        self._groups = groups
        self._key_digests = key_digests or {}

    async def open(self, claim: Claim) -> Opening:
        """
        Look up a claimed message.

        Raises:
            StoreUnavailable: nothing is known; the claim must wait.
        """
        this = {"this_id": claim.message_id, "this_user": claim.user}
        async with self._store.read() as connection:
            rows = (await connection.execute(_LOOK, this)).all()
            row = next((row for row in rows if row.id == claim.message_id), None)
            if row is None or row.from_user != claim.user:
                others = any(other.from_user == claim.user for other in rows)
                return UnknownEntry(await _waiting_ids(connection, claim.user) if others else ())
            if row.state not in UNFINISHED:
                return AlreadySettled()
            if any(other.id < row.id for other in rows):
                return OutOfOrder(await _waiting_ids(connection, claim.user))
            if row.fence >= claim.fence:
                return FenceBehind(row.fence)
            if _is_of_former_life(row, claim):
                return FormerLife()
            return await self._turn(connection, row, claim)

    async def _turn(self, connection: AsyncConnection, row: Any, claim: Claim) -> Turn:
        bot, group, user = WcId(row.bot_wc_id), WcId(row.group_id), WcId(row.from_user)
        has_segments = row.last_seq is not None
        begun = await live_segments(connection, row.id) if has_segments else ()
        # An answer that has begun is finished by the app that began it, whatever was chosen since.
        app = (begun and row.dify_app) or row.app
        settings = self._groups.settings(bot, group)
        # The name in the group, the nickname, what the notification said; else nobody is mentioned.
        known = (row.name_1, row.name_2, row.name_3, row.sender_name)
        voice = voice_of(row.unheard_text, row.question)
        has_form = row.form_id is not None and app == row.app
        name = next(filter(None, (clean_nickname(one or "") for one in known)), "")
        is_session = app == row.app and self._is_ours(app, row.key_digest)
        turn = Turn(
            message_id=MessageId(row.id),
            fence=claim.fence,
            bot_wc_id=bot,
            group_id=group,
            user=user,
            question=row.question or (SPOKEN if voice else ""),
            app=app,
            conversation_id=(is_session and row.conversation_id) or "",
            key_digest=self._key_digests.get(app, ""),
            mention_name=name if settings.mention_sender else "",
            user_name=name,
            group_name=clean_nickname(row.group_name or ""),
            received_at=row.received_at,
            is_plain=settings.is_plain,
            cites=settings.cites,
            suggests=settings.suggests,
            # The queue counts per user: it forgets when an older message comes in front for a while.
            attempts=max(claim.attempts, row.attempts),
            sole_crashes=max(claim.sole_crashes, row.sole_crashes),
            asking=_asking(row, app),
            begun=begun,
            next_seq=row.last_seq + 1 if has_segments else 0,
            replayed_at=row.replayed_at,
            voice=voice,
        )
        return replace(turn, form=await load_form(connection, turn)) if has_form else turn

    def _is_ours(self, app: str, key_digest: str | None) -> bool:
        """Whether a conversation is known under the app's key of today."""
        today = self._key_digests.get(app, "")
        return not today or not key_digest or key_digest == today

    async def asking_other(self, turn: Turn, app: str) -> Turn:
        """
        The turn as *app* will be asked, of which nobody has heard anything for it yet.

        Raises:
            StoreUnavailable: nothing is known.
        """
        this = {"this_app": app, "this_id": turn.message_id}
        async with self._store.read() as connection:
            row = (await connection.execute(_SESSION_OF, this)).first()
        is_known = row is not None and self._is_ours(app, row.key_digest)
        return replace(
            turn,
            app=app,
            stands_in_for=turn.app,
            conversation_id=row.conversation_id if row is not None and is_known else "",
            key_digest=self._key_digests.get(app, ""),
            asking=None,
            form=None,
        )

    async def answered_by(self, turn: Turn, bot: WcId) -> Turn:
        """
        The turn as another account answers it: in that account's conversation with the person.

        Raises:
            StoreUnavailable: nothing is known.
        """
        this = {
            "this_app": turn.app,
            "this_bot": bot,
            "this_group": turn.group_id,
            "this_user": turn.user,
        }
        async with self._store.read() as connection:
            row = (await connection.execute(_SESSION_WITH, this)).first()
        is_known = row is not None and self._is_ours(turn.app, row.key_digest)
        conversation_id = row.conversation_id if row is not None and is_known else ""
        return replace(turn, bot_wc_id=bot, conversation_id=conversation_id)

    async def taken(self, user: WcId, dify_ids: Sequence[str]) -> set[str]:
        """
        Which of these ids of Dify's messages belong to messages of this user already.

        Raises:
            StoreUnavailable: nothing is known.
        """
        async with self._store.read() as connection:
            this = {"this_user": user, "these_ids": list(dify_ids)}
            return set(await connection.scalars(_TAKEN, this))


def _asking(row: Any, app: str) -> Asking | None:
    """
    What a former try asked (pure); of a question without a message's id the conversation it went to.

    What another app was asked, before the group was given this one, nobody hears of any more.
    """
    if row.asked_at is None and not row.dify_message_id:
        return None
    return Asking(
        conversation_id=row.dify_conversation_id
        if row.dify_message_id
        else row.conversation_id or "",
        dify_message_id=row.dify_message_id,
        task_id=row.dify_task_id,
        workflow_run_id=row.dify_run_id,
        asked_at=row.asked_at,
        is_open=row.dify_app == app,
    )


def _is_of_former_life(row: Any, claim: Claim) -> bool:
    """
    Whether the claim counts tries of the time before a replay (pure).

    The entry was left in the list when the message was given up, and the sweep has not seen the
    replay yet.
    """
    is_new = row.replayed_at is not None and row.queued_epoch is None
    return is_new and (claim.attempts > row.attempts or claim.crashes > row.crashes)
