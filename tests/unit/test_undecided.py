"""When an undecided segment is decided."""

from app.workers.undecided import ECHO_SECONDS, UndecidedSegments


def test_a_segment_left_behind_waits_for_one_time_out_from_now_on() -> None:
    """Another host's clock does not matter; loading it again changes nothing."""
    segments = UndecidedSegments(timeout=15)

    assert segments.found_sending(1, now=100.0)
    assert not segments.found_sending(1, now=110.0)
    assert (segments[1].earliest, segments[1].latest) == (115.0, 115.0 + ECHO_SECONDS)


def test_a_segment_that_is_known_to_be_unsent_is_not_undecided_whatever_sql_says() -> None:
    """Until its call goes out."""
    segments = UndecidedSegments(timeout=15)
    segments.after_call(1, now=0.0)
    assert 1 in segments
    segments.clear(1)

    assert 1 not in segments
    assert not segments.found_sending(1, now=1.0)
    segments.forget(1)
    assert segments.found_sending(1, now=1.0)


def test_a_call_with_a_file_is_certainly_over_later() -> None:
    """The gateway fetches the file in it."""
    segments = UndecidedSegments(timeout=15)
    segments.found_sending(1, now=100.0, has_file=True)

    assert segments[1].earliest == 160.0
