"""The journal's hours and entries."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.flow import MessageId
from app.services.conversations import TurnEntry, hour_of

MIDNIGHT = datetime(2026, 1, 1, 16, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "zone", "hour"),
    [
        (MIDNIGHT, "Asia/Shanghai", "20260102_00"),
        (MIDNIGHT - timedelta(microseconds=1), "Asia/Shanghai", "20260101_23"),
        (MIDNIGHT, "UTC", "20260101_16"),
        (MIDNIGHT, "Asia/Kolkata", "20260101_21"),
        (datetime(2026, 3, 8, 7, 30, tzinfo=UTC), "America/New_York", "20260308_03"),
    ],
)
def test_the_hour_is_the_operators(moment: datetime, zone: str, hour: str) -> None:
    """YYYYMMDD_HH, in the zone that is set; eleven characters, as the column."""
    assert hour_of(moment, ZoneInfo(zone)) == hour
    assert len(hour) == 11


@given(moment=st.datetimes(timezones=st.just(UTC), min_value=datetime(2000, 1, 1)))  # noqa: DTZ001 - hypothesis wants it naive
def test_every_moment_is_in_one_hour(moment: datetime) -> None:
    """The same moment is the same hour, however it is spelt."""
    zone = ZoneInfo("Asia/Shanghai")

    assert hour_of(moment, zone) == hour_of(moment.astimezone(zone), zone)


def test_ids_of_entries_are_text() -> None:
    """63 bits are more than a browser's numbers hold."""
    entry = TurnEntry(message_id=MessageId((1 << 63) - 1), received_at=MIDNIGHT, question="问")

    assert entry.to_json() == {
        "message_id": "9223372036854775807",
        "at": "2026-01-01T16:00:00+00:00",
        "question": "问",
        "answer": None,
        "outcome": None,
    }
