"""The crowd of a run: who says what, in which order, how fast. Drawn from the seed."""

import asyncio
import random
from collections.abc import Awaitable, Callable

from bench.chaos.words import word_of
from simulators.ecloud import EcloudSimulator
from simulators.ecloud_callbacks import group_callback
from simulators.ecloud_speech import Said

Compose = Callable[[str], str]
#: Words that are late are said together after so long at most.
TICK = 0.02


async def _always() -> None:
    """There is room."""


class Talk:
    """Everybody in the gateway's world but our accounts talks, each in one group."""

    def __init__(self, gateway: EcloudSimulator, rng: random.Random, compose: Compose) -> None:
        self._gateway = gateway
        self._rng = rng
        self.compose = compose
        own = set(gateway.world.accounts)
        self.people = [
            (group.group_id, member)
            for group in gateway.world.groups.values()
            for member in group.members
            if member not in own
        ]
        #: What was said, by word, in order.
        self.said: dict[str, Said] = {}
        #: Cleared: everybody is silent.
        self.may_speak = asyncio.Event()
        self.may_speak.set()
        #: Ends when something more may be said.
        self.until_room: Callable[[], Awaitable[None]] = _always

    @property
    def count(self) -> int:
        """How much was said."""
        return len(self.said)

    def say(
        self,
        *,
        person: int | None = None,
        group: str | None = None,
        compose: Compose | None = None,
    ) -> str:
        """
        One person says something, by chance unless named; returns its word.

        Args:
            group: where, if not in the person's own one.
        """
        at = self._rng.randrange(len(self.people)) if person is None else person
        own_group, speaker = self.people[at]
        group = group or own_group
        word = word_of(len(self.said))
        self.said[word] = self._gateway.say(group, speaker, (compose or self.compose)(word))
        return word

    async def speak(self, count: int, rate: float) -> None:
        """
        So much is said by people at random, at so much a second.

        Raises:
            TimeoutError: there was no room for another word in time.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        for number in range(count):
            due = started + number / rate
            if due > loop.time() + TICK:
                await asyncio.sleep(due - loop.time())
            paused = loop.time()
            await self.may_speak.wait()
            await self.until_room()
            started += loop.time() - paused
            self.say()

    def deliver_again(self, word: str, copies: int = 1) -> None:
        """The gateway posts the callback of a word again, with the account's present wId."""
        said, world = self.said[word], self._gateway.world
        room = world.groups[said.group]
        for _ in range(copies):
            body = group_callback(
                world,
                world.first_account(),
                room,
                from_user=said.person,
                content=said.text,
                ids=(said.msg_id, said.new_msg_id),
                timestamp=said.timestamp,
            )
            self._gateway.courier.post(said.group, body)
