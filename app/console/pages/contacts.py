"""People and groups as the gateway knows them, and looking them up anew. Pictures are not fetched."""

from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode

from starlette.responses import Response

from app.console.gate import refusal
from app.console.reading.contacts import KINDS, conditions_of, read_contacts
from app.console.refreshes import MOST
from app.console.visit import Visit
from app.utils.ids import parse_id

HERE: Final = "/console/contacts/"
REFRESH: Final = f"{HERE}refresh"
KIND_WORDS: Final = {"person": "人", "group": "群"}


async def list_contacts(visit: Visit) -> Response:
    """One page of the list."""
    asked, kind = visit.asked("q"), visit.asked("kind", 8)
    kind = kind if kind in KINDS else ""
    before = parse_id(visit.asked("before"))
    rows, following = await read_contacts(
        visit.parts.runtime.store, text=asked, kind=kind, before=before
    )
    pairs = {name: value for name, value in (("q", asked), ("kind", kind)) if value}
    return visit.page(
        "contacts.html",
        rows=rows,
        asked=asked,
        kind=kind,
        kind_words=KIND_WORDS,
        most=MOST,
        pages={
            "first": f"{HERE}?{urlencode(pairs)}" if before is not None else "",
            "next": f"{HERE}?{urlencode({**pairs, 'before': following})}" if following else "",
        },
    )


async def start_refresh(visit: Visit) -> Response:
    """Have those that the list shows looked up at the gateway, as far as nobody does so already."""
    if not visit.parts.runtime.gateways.clients:
        return visit.go(HERE, told="no_gateway")
    asked, kind = visit.form.get("q").strip()[:200], visit.form.get("kind")
    kind = kind if kind in KINDS else ""
    # What was searched for may be somebody's name.
    told = " ".join(filter(None, (kind, asked and "q=…")))
    by = visit.deed("contacts.refresh", "", after=told)
    conditions = conditions_of(text=asked, kind=kind)
    refresh = await visit.parts.refreshes.start(conditions, by=by)
    return visit.go(HERE, told="nothing_to_refresh") if refresh is None else visit.go(REFRESH)


async def show_refresh(visit: Visit) -> Response:
    """How far it is."""
    refresh = await visit.parts.refreshes.last()
    if refresh is None:
        return refusal(visit, HTTPStatus.NOT_FOUND, "没有刷新过联系人,或已过去很久。")
    template = "refresh_part.html" if visit.is_fragment else "refresh.html"
    return visit.page(template, refresh=refresh)


async def cancel_refresh(visit: Visit) -> Response:
    """Leave those alone that were not looked up yet."""
    await visit.parts.refreshes.cancel(by=visit.deed("contacts.cancel", ""))
    return visit.go(REFRESH)
