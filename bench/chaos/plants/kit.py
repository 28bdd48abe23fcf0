"""How a defect is planted: the registry, and the two ways to patch."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

NONE = "none"


class DoesNotFit(RuntimeError):
    """The code that was to be patched looks different by now."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plant:
    """One defect."""

    name: str
    what: str
    #: Patches the program in this very process.
    plant: Callable[[], None]


PLANTS: dict[str, Plant] = {}


def planted(name: str, what: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Enter a patching function into the registry."""

    def enter(function: Callable[[], None]) -> Callable[[], None]:
        PLANTS[name] = Plant(name=name, what=what, plant=function)
        return function

    return enter


def exchange(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """
    Put what *make* makes of an attribute in its place.

    Raises:
        DoesNotFit: there is no such attribute.
    """
    if not hasattr(owner, name):
        raise DoesNotFit(f"{owner} has no {name}")
    setattr(owner, name, make(getattr(owner, name)))


def rewrite_script(script: str, old: str, new: str) -> None:
    """
    Change one place in one of the queue's Lua scripts.

    Raises:
        DoesNotFit: the place is not there, or not only once.
    """
    from app.services.queue import scripts

    loaded = scripts.load_script(script)
    if loaded.source.count(old) != 1:
        raise DoesNotFit(f"{script}.lua has {old!r} {loaded.source.count(old)} times")
    source = loaded.source.replace(old, new)
    sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
    changed = scripts.Script(source, sha)
    exchange(
        scripts,
        "load_script",
        lambda load: lambda name: changed if name == script else load(name),
    )
