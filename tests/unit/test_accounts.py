"""Under which wId an account is logged in: the newest named one that was not refused."""

import json
from pathlib import Path

import pytest

from app.models.flow import WcId
from app.services.accounts import Login, newer_login, refused_login
from app.services.ecloud.callback import parse_callback

BOT = WcId("wxid_bot")
SAMPLES = Path(__file__).resolve().parents[1] / "samples" / "ecloud"


def login(w_id: str, time: int, *, refused: str = "", source: str = "callback") -> Login:
    return Login(wc_id=BOT, w_id=w_id, w_id_time=time, source=source, refused_w_id=refused)


@pytest.mark.parametrize(
    ("known", "named", "expected"),
    [
        (None, login("w1", 5), login("w1", 5)),
        (None, login("", 5), login("", 5)),
        (login("w1", 5), login("w2", 6), login("w2", 6)),
        (login("w1", 5), login("w2", 5), login("w2", 5)),
        (login("w1", 5), login("w2", 4), None),
        (login("w1", 5), login("", 9), None),
        (login("w1", 5), login("w1", 5), None),
        (login("w1", 5), login("w1", 9), login("w1", 9)),
        (login("w1", 5), login("w1", 4), None),
        (login("w1", 5), login("w2", 9, source="query"), login("w2", 9, source="query")),
        (login("w2", 5, refused="w1"), login("w1", 9), None),
        (login("", 5, refused="w1"), login("w1", 9), None),
        (login("", 5, refused="w1"), login("w2", 3), login("w2", 3, refused="w1")),
        (login("", 0), login("w1", 0), login("w1", 0)),
    ],
)
def test_the_newest_named_wid_is_in_force(
    known: Login | None, named: Login, expected: Login | None
) -> None:
    """By the callback's own time, then by arrival; a refused one never; any is better than none."""
    assert newer_login(known, named) == expected


def test_a_replay_after_a_login_names_no_older_wid() -> None:
    """An old message is delivered again, under another wId and with its old time."""
    body = json.loads((SAMPLES / "replay_after_login.json").read_text("utf-8"))
    origin = parse_callback(json.dumps(body).encode()).origin
    in_force = login("12491ae9-in-force", origin.timestamp + 600)
    replayed = login(origin.w_id, origin.timestamp)

    assert origin.w_id
    assert newer_login(in_force, replayed) is None
    assert newer_login(refused_login(in_force, in_force.w_id), replayed) is not None


def test_a_wid_in_use_stays_in_force_against_messages_from_before_its_last_one() -> None:
    """Its time moves with every callback, so that a replay of the morning does not win at noon."""
    known = login("w1", 100)
    known = newer_login(known, login("w1", 900)) or known

    assert newer_login(known, login("w0", 500)) is None


def test_a_refused_wid_is_out_of_force() -> None:
    """An older one that is refused late changes nothing about the one in force."""
    assert refused_login(login("w1", 5), "w1") == login("", 5, refused="w1")
    assert refused_login(login("w2", 5), "w1") == login("w2", 5, refused="w1")
