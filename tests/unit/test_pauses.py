"""What a pause holds, and how much of somebody's waiting is an operator's."""

from datetime import UTC, datetime, timedelta

from app.models.flow import WcId
from app.models.pause import PauseKind
from app.services.pauses import Paused, PausePeriod
from app.workers.outages import Outages

START = datetime(2026, 1, 1, tzinfo=UTC)
MING, HONG = WcId("wxid_ming"), WcId("wxid_hong")


def at(seconds: float) -> datetime:
    """A moment after the start."""
    return START + timedelta(seconds=seconds)


def period(
    kind: PauseKind, begin: float, end: float | None = None, subject: str = ""
) -> PausePeriod:
    """A pause; without an end it lasts."""
    ended = None if end is None else at(end)
    return PausePeriod(kind=kind, subject=subject, began_at=at(begin), ended_at=ended)


def test_nothing_is_done_before_anybody_has_read_the_pauses() -> None:
    """Whoever starts must not send what is paused for a second."""
    unknown = Paused(is_known=False)

    assert (unknown.is_taking, unknown.is_sending) == (True, True)
    assert unknown.holds(MING) == "pause:sending"
    assert not unknown.is_over("pause:sending")


def test_only_what_lasts_holds_anybody() -> None:
    """A pause of one person is no other one's."""
    paused = Paused(
        periods=(period(PauseKind.SENDING, 0, 10), period(PauseKind.USER, 5, subject=MING))
    )

    assert (paused.is_taking, paused.is_sending) == (False, False)
    assert (paused.holds(MING), paused.holds(HONG)) == ("pause:user:wxid_ming", "")
    assert paused.is_over("pause:sending")
    assert not paused.is_over("pause:user:wxid_ming")


def test_time_in_pauses_counts_once_however_they_overlap() -> None:
    """Those of everybody and those of this person, up to now."""
    paused = Paused(
        periods=(
            period(PauseKind.TAKING, 10, 30),
            period(PauseKind.SENDING, 20, 40),
            period(PauseKind.USER, 100, subject=MING),
        )
    )

    assert paused.seconds(at(0), at(110), MING) == 30 + 10
    assert paused.seconds(at(25), at(110), HONG) == 15


def test_an_outage_in_a_pause_makes_no_answer_old() -> None:
    """Only what lies outside of it was the account's."""
    outages = Outages()
    outages.down(at(0), seconds=60)
    outages.up(at(60))
    outages.down(at(70), seconds=100)

    assert outages.waited(at(0), at(100), [(at(20), at(90))]) == 20 + 10
    assert outages.waited(at(0), at(100), [(at(0), at(200))]) == 0
    assert outages.waited(at(65), at(68), [(at(0), at(200))]) == 0
