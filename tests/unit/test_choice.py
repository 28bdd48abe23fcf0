"""What an operator types to choose messages: times, ages, ids and filters."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import typer

from app.commands.choice import chosen, parse_ids, parse_moment
from app.commands.output import WRONG_USE

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


@pytest.fixture
def in_shanghai(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine's zone."""
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("45s", timedelta(seconds=45)),
        ("30m", timedelta(minutes=30)),
        ("2h", timedelta(hours=2)),
        (" 3d ", timedelta(days=3)),
        ("0s", timedelta()),
    ],
)
def test_an_age_counts_back_from_now(text: str, ago: timedelta) -> None:
    """Seconds, minutes, hours, days."""
    assert parse_moment(text, NOW) == NOW - ago


@pytest.mark.usefixtures("in_shanghai")
@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-10", datetime(2026, 3, 9, 16, 0, tzinfo=UTC)),
        ("2026-03-10T08:30", datetime(2026, 3, 10, 0, 30, tzinfo=UTC)),
        ("2026-03-10 08:30:15", datetime(2026, 3, 10, 0, 30, 15, tzinfo=UTC)),
        ("2026-03-10T08:30Z", datetime(2026, 3, 10, 8, 30, tzinfo=UTC)),
        ("2026-03-10T08:30+02:00", datetime(2026, 3, 10, 6, 30, tzinfo=UTC)),
    ],
)
def test_a_time_without_zone_is_the_machines(text: str, moment: datetime) -> None:
    """As the commands show times; with a zone it is that one's."""
    assert parse_moment(text, NOW) == moment


@pytest.mark.parametrize(
    "text",
    ["", "3", "h", "3w", "-3d", "3 d", "三天", "2026-13-01", "yesterday", "999999999d"],
)
def test_what_is_neither_is_refused_with_a_sentence(text: str) -> None:
    """Also where arithmetic would overflow."""
    with pytest.raises(ValueError, match="写本地时间"):
        parse_moment(text, NOW)


@pytest.mark.parametrize(
    "text",
    ["0", "-5", "+5", "1.5", "abc", "", "١٢٣", "9223372036854775808", "9" * 40, "1 2", "1\n"],
)
def test_what_is_no_id_is_wrong_use(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Negative, huge, or no number in ASCII; the sentence cannot steer the terminal."""
    with pytest.raises(typer.Exit) as ended:
        parse_ids(["1", text])

    assert ended.value.exit_code == WRONG_USE
    assert "不是消息编号" in capsys.readouterr().err


def test_ids_are_taken_once_each_in_the_order_of_receipt() -> None:
    """Whoever types one twice means it once."""
    assert parse_ids(["9223372036854775807", "12", "7", "12"]) == [7, 12, 2**63 - 1]


def test_filters_are_taken_as_typed() -> None:
    """The verdict's prefix may be left out; what is not typed is no filter."""
    choice = chosen("2h", None, "failed:dify_rejected", " wxid_a ", "1@chatroom")

    assert (choice.cause, choice.user, choice.group_id) == (
        "dify_rejected",
        "wxid_a",
        "1@chatroom",
    )
    assert choice.since is not None
    assert abs(datetime.now(UTC) - timedelta(hours=2) - choice.since) < timedelta(minutes=1)
    assert choice.until is None


@pytest.mark.parametrize(
    "typed",
    [
        (None, None, None, "", None),
        ("2h", None, None, "  ", None),
        (None, None, "", None, None),
        ("", None, None, None, None),
        ("1h", "2h", None, None, None),
        ("1h", "1h", None, None, None),
        ("bad", None, None, None, None),
        (None, None, None, "a\udcff", None),
        (None, None, None, None, "1\x1b[m"),
    ],
)
def test_an_empty_or_impossible_filter_is_wrong_use(
    typed: tuple[str | None, str | None, str | None, str | None, str | None],
) -> None:
    """A script's empty variable must not mean everybody."""
    with pytest.raises(typer.Exit) as ended:
        chosen(*typed)

    assert ended.value.exit_code == WRONG_USE
