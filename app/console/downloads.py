"""Tables to take along: CSV that spreadsheets open, written while it is read, however long it is."""

import csv
import io
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from starlette.responses import Response, StreamingResponse

from app.services.export import safe_cell

#: A spreadsheet takes a file without the mark for one of the local code page.
MARK: Final = "\ufeff".encode()
#: Rows that are sent together.
TOGETHER: Final = 100


def send_table(
    name: str, fields: Sequence[str], records: AsyncIterator[Mapping[str, Any]]
) -> Response:
    """
    A file for the browser to keep. Whoever closes the connection ends the reading.

    Args:
        name: of the file; ASCII.
    """
    return send_file(f"{name}.csv", "text/csv; charset=utf-8", _lines(fields, records))


def send_file(name: str, media_type: str, parts: AsyncIterator[bytes]) -> Response:
    """Whatever comes, as a file for the browser to keep."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(parts, media_type=media_type, headers=headers)


def stamped(name: str, now: datetime, zone: ZoneInfo) -> str:
    """A name that tells when it was made (pure)."""
    return f"{name}-{now.astimezone(zone):%Y%m%d-%H%M%S}"


async def _lines(
    fields: Sequence[str], records: AsyncIterator[Mapping[str, Any]]
) -> AsyncIterator[bytes]:
    written = io.StringIO()
    sheet = csv.DictWriter(written, fieldnames=list(fields))
    sheet.writeheader()
    yield MARK
    count = 0
    async for record in records:
        sheet.writerow({field: safe_cell(record.get(field)) for field in fields})
        count += 1
        if count % TOGETHER == 0:
            yield _taken(written)
    yield _taken(written)


def _taken(written: io.StringIO) -> bytes:
    """What was written since the last time."""
    text = written.getvalue()
    written.seek(0)
    written.truncate()
    return text.encode("utf-8", "replace")
