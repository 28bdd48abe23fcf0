"""Passwords: argon2id digests, made and compared outside the loop. The engine is loaded late."""

import asyncio
import ctypes
import secrets
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from argon2 import PasswordHasher

SHORTEST: Final = 8
LONGEST: Final = 200
#: OWASP's smallest recommendation: a login costs 19 MiB for some 40 ms.
MEMORY_KIB: Final = 19_456
PASSES: Final = 2
LANES: Final = 1

#: Two at a time: whoever sends many passwords must not take all memory and processors.
_TURNS: Final = 2


class Passwords:
    """Makes and checks digests."""

    def __init__(self) -> None:
        self._hasher = _make_hasher()
        self._turns = asyncio.Semaphore(_TURNS)
        self._nobodys = ""

    async def check(self, digest: str | None, password: str) -> bool:
        """
        Whether *password* is the one of *digest*.

        Without a digest (nobody has that name) it takes as long and is False.
        """
        async with self._turns:
            matches = await asyncio.to_thread(self._matches, digest, password)
        return matches and digest is not None

    async def hash(self, password: str) -> str:
        """The digest to be kept."""
        async with self._turns:
            return await asyncio.to_thread(self._digest_of, password)

    def _digest_of(self, password: str) -> str:
        try:
            return self._hasher.hash(password)
        finally:
            _give_memory_back()

    def _matches(self, digest: str | None, password: str) -> bool:
        from argon2.exceptions import InvalidHashError, VerificationError  # noqa: PLC0415 - late

        if digest is None and not self._nobodys:
            self._nobodys = self._hasher.hash(secrets.token_urlsafe())
        try:
            return self._hasher.verify(digest or self._nobodys, password)
        except (VerificationError, InvalidHashError):
            return False
        finally:
            _give_memory_back()


def _give_memory_back() -> None:
    """glibc keeps what the engine used, 40 MB after two digests; other C libraries do not."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):
        return


def _make_hasher() -> "PasswordHasher":
    from argon2 import PasswordHasher  # noqa: PLC0415 - late

    return PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)


def is_allowed(password: str) -> bool:
    """Whether a password may be chosen (pure)."""
    return SHORTEST <= len(password) <= LONGEST


def make_password() -> str:
    """A random one that is read and typed without mistakes."""
    letters = "abcdefghijkmnpqrstuvwxyz23456789"
    groups = ("".join(secrets.choice(letters) for _ in range(4)) for _ in range(4))
    return "-".join(groups)
