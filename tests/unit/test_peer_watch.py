"""Whom the answer loop looks at before it asks."""

from collections.abc import Sequence

import pytest

from app.models.flow import Asking, MessageId, Segment, WcId
from app.services.pauses import Paused
from app.services.queue.breakers import BreakerLook, BreakerState, account_peer, dify_peer
from app.workers.peer_watch import PeerWatch
from tests.fixtures.callbacks import BOT, USER, make_turn

ACCOUNT, DIFY = account_peer(BOT), dify_peer("default")
BEGUN = (Segment(seq=0, content="一"),)
UNHEARD = Asking(conversation_id="c-1", dify_message_id="m-1")
HEARD = Asking(conversation_id="c-1", dify_message_id="m-1", is_open=False)


class Breakers:
    """All are open; remembers who was looked at."""

    def __init__(self) -> None:
        self.looked: list[str] = []
        self.opened: list[tuple[str, float, str]] = []

    async def open_for(self, peer: str, seconds: float, code: str) -> bool:
        """Somebody knows that it is not well."""
        self.opened.append((peer, seconds, code))
        return True

    async def look(self, peers: Sequence[str], user: WcId) -> list[BreakerLook]:
        """Of a user's question."""
        assert user == USER
        self.looked += peers
        return [
            BreakerLook(peer=peer, state=BreakerState.OPEN, has_failures=True) for peer in peers
        ]


@pytest.mark.parametrize(
    ("begun", "asking", "looked"),
    [
        ((), None, [ACCOUNT, DIFY]),
        ((), UNHEARD, [ACCOUNT, DIFY]),
        (BEGUN, UNHEARD, [DIFY]),
        (BEGUN, HEARD, []),
        (BEGUN, Asking(), []),
        (BEGUN, None, []),
    ],
)
async def test_the_rest_of_an_answer_waits_for_dify_and_for_nobody_else(
    begun: tuple[Segment, ...], asking: Asking | None, looked: list[str]
) -> None:
    """And what only has to be closed waits for nobody."""
    breakers = Breakers()
    watch = PeerWatch(
        queue=None,  # type: ignore[arg-type]
        breakers=breakers,  # type: ignore[arg-type]
        quiet_left=lambda: 0.0,
        paused=Paused,
    )
    admission = await watch.admit(make_turn(MessageId(1), begun=begun, asking=asking))

    assert breakers.looked == looked
    assert admission.held_by == (looked[0] if looked else "")


async def test_in_quiet_hours_nobody_is_asked_and_the_account_is_the_reason() -> None:
    """But the rest of an answer that is begun is fetched."""
    breakers = Breakers()
    watch = PeerWatch(
        queue=None,  # type: ignore[arg-type]
        breakers=breakers,  # type: ignore[arg-type]
        quiet_left=lambda: 3600.0,
        paused=Paused,
    )
    admission = await watch.admit(make_turn(MessageId(1)))
    begun = await watch.admit(make_turn(MessageId(1), begun=BEGUN, asking=UNHEARD))

    assert admission.held_by == ACCOUNT
    assert breakers.opened == [(ACCOUNT, 3600.0, "quiet_hours")]
    assert begun.held_by == DIFY
