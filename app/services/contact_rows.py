"""Rows of the address book: made of cards, and of who was seen. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.models.flow import WcId
from app.services.ecloud.cards import ContactCard, MemberCard

PERSON = "person"
GROUP = "group"
#: A person missing in a known group's member list makes the list be read again after so long.
MEMBERS_AGE = timedelta(minutes=10)
FIRST_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(hours=6)
#: After so many failures in a row a contact is left alone until it is seen again.
GIVE_UP_AFTER = 5


@dataclass(frozen=True, slots=True)
class Seen:
    """Somebody wrote in a group."""

    bot_wc_id: WcId
    group_id: WcId
    user: WcId


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What the table says of a contact's look-ups."""

    failures: int
    fetched_at: datetime | None
    next_fetch_at: datetime | None


def pause_after(failures: int) -> timedelta:
    """How long to leave a contact alone that could not be looked up so many times (pure)."""
    return min(FIRST_PAUSE * (1 << min(failures, 16)), LONGEST_PAUSE)


def next_try(failures: int, now: datetime) -> datetime | None:
    """When to try again after so many failures in a row; None: not before it is seen again (pure)."""
    return None if failures >= GIVE_UP_AFTER else now + pause_after(failures - 1)


def seen_rows(seen: Iterable[Seen], now: datetime) -> dict[WcId, dict[str, Any]]:
    """One row for each person and each group, by id: due at once if it is new (pure)."""
    rows = {}
    for one in seen:
        for wc_id, kind, group in (
            (one.group_id, GROUP, ""),
            (one.user, PERSON, one.group_id),
        ):
            rows[wc_id] = {
                "wc_id": wc_id,
                "kind": kind,
                "bot_wc_id": one.bot_wc_id,
                "group_id": group,
                "next_fetch_at": now,
                "seen_at": now,
            }
    return rows


def due_again(
    known: Known, now: datetime, *, max_age: timedelta, has_strangers: bool
) -> datetime | None:
    """
    When a known contact that was seen just now is to be looked up; None: not for this (pure).

    One that was given up gets a single try each time, after a pause that grows as before: whoever
    writes all the time, or is made to seem so, is asked for no more often.

    Args:
        has_strangers: it is a group, and somebody wrote there who is not in its member list.
    """
    if known.next_fetch_at is not None:
        return None
    if known.failures >= GIVE_UP_AFTER:
        return now + pause_after(known.failures - 1)
    if known.fetched_at is None:
        return None
    age = min(MEMBERS_AGE, max_age) if has_strangers else max_age
    return now if now - known.fetched_at > age else None


def card_row(card: ContactCard, now: datetime) -> dict[str, Any]:
    """A card as a row that is fresh now, each text cut to what its column holds (pure)."""
    return {
        "wc_id": card.wc_id,
        "nick_name": card.nick_name[:255],
        "user_name": card.user_name[:128],
        "remark": card.remark[:255],
        "alias": card.alias[:128],
        "signature": card.signature[:512],
        "sex": card.sex,
        "country": card.country[:64],
        "province": card.province[:64],
        "city": card.city[:64],
        "big_avatar": card.big_avatar[:1024],
        "small_avatar": card.small_avatar[:1024],
        "labels": card.labels[:255],
        "v1": card.v1[:512],
        "kind": card.kind,
        "raw": dict(card.raw),
        "fetched_at": now,
        "next_fetch_at": None,
        "failures": 0,
        "error": "",
        "seen_at": now,
    }


def member_row(member: MemberCard, group: WcId, now: datetime) -> dict[str, Any]:
    """A member as a row, each text cut to what its column holds (pure)."""
    return {
        "group_id": group,
        "wc_id": member.wc_id,
        "display_name": member.display_name[:255],
        "nick_name": member.nick_name[:255],
        "small_avatar": member.small_avatar[:1024],
        "fetched_at": now,
    }
