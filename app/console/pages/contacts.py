"""People and groups as the gateway knows them. Pictures lie elsewhere and are not fetched."""

from typing import Final
from urllib.parse import urlencode

from starlette.responses import Response

from app.console.reading.contacts import KINDS, read_contacts
from app.console.visit import Visit
from app.utils.ids import parse_id

HERE: Final = "/console/contacts/"
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
        pages={
            "first": f"{HERE}?{urlencode(pairs)}" if before is not None else "",
            "next": f"{HERE}?{urlencode({**pairs, 'before': following})}" if following else "",
        },
    )
