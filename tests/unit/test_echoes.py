"""Which callback is the echo of which call."""

from datetime import UTC, datetime, timedelta

from app.models.flow import SentMessage
from app.services.echoes import CLOCK_SKEW, GATEWAY_SKEW, Echo, Rival, echo_of

CALLED = datetime(2026, 1, 1, tzinfo=UTC)


def echo(seconds: float, new_msg_id: str = "", *, said: float | None = None) -> Echo:
    """One that came *seconds* after the call, and by the gateway's clock is of *said* seconds after."""
    created_at = 0 if said is None else int(CALLED.timestamp() + said)
    message = SentMessage(new_msg_id=new_msg_id, created_at=created_at)
    return Echo(received_at=CALLED + timedelta(seconds=seconds), message=message)


def found(echoes: list[Echo], *rivals: Rival) -> str | None:
    """The id of the echo that is taken for the segment's."""
    message = echo_of(CALLED, echoes, rivals)
    return None if message is None else message.new_msg_id


def test_the_first_echo_since_the_call_is_its_own() -> None:
    """A host's clock may be some seconds behind."""
    assert found([]) is None
    assert found([echo(3, "a"), echo(4, "b")]) == "a"
    assert found([echo(-CLOCK_SKEW.total_seconds(), "a")]) == "a"
    assert found([echo(-CLOCK_SKEW.total_seconds() - 0.1, "a"), echo(1, "b")]) == "b"


def test_an_echo_that_another_receipt_names_is_not_taken() -> None:
    """The same words were said two seconds before, and their echo is late."""
    rival = Rival(new_msg_id="a", tries=1)

    assert found([echo(1, "a")], rival) is None
    assert found([echo(1, "a"), echo(2, "b")], rival) == "b"


def test_a_call_without_a_receipt_takes_one_echo_the_oldest() -> None:
    """Each echo counts once, also where the gateway gives no ids."""
    nameless = Rival(new_msg_id="", tries=1)

    assert found([echo(1)], nameless) is None
    assert found([echo(1, "x"), echo(2, "y")], nameless) == "y"
    assert found([echo(-60, "x"), echo(2, "y")], nameless) == "y"
    assert found([echo(1, "x"), echo(2, "y")], Rival(new_msg_id="", tries=2)) is None


def test_of_a_repeated_segment_only_the_call_without_an_answer_takes_an_echo() -> None:
    """Its last call has a receipt, which names its echo."""
    repeated = Rival(new_msg_id="b", tries=2)

    assert found([echo(-20, "a"), echo(-5, "b"), echo(2, "c")], repeated) == "c"
    assert found([echo(-20, "a"), echo(-5, "b")], repeated) is None


def test_a_segment_that_certainly_never_went_out_takes_no_echo() -> None:
    """It was put back."""
    assert found([echo(1, "a")], Rival(new_msg_id="", tries=0)) == "a"


def test_a_replay_of_an_older_text_is_no_echo() -> None:
    """The gateway posts history after a login; its own time tells."""
    limit = GATEWAY_SKEW.total_seconds()

    assert found([echo(1, "a", said=-3600), echo(2, "b", said=1)]) == "b"
    assert found([echo(1, "a", said=-limit)]) == "a"
