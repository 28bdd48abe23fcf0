"""The settings that may change while the process runs, for the parts that read them anew each time."""

from config import Settings
from settings.console import LIVE
from settings.tree import leaves


class LiveSettings:
    """The settings that this process was started with, and in them what has changed since then."""

    def __init__(self, start: Settings) -> None:
        self._now = start

    @property
    def now(self) -> Settings:
        """What is in force in this process at this moment; the same object until something changes."""
        return self._now

    def take(self, wanted: Settings) -> frozenset[str]:
        """
        Take over what may change while the process runs, and leave the rest.

        Returns:
            Names of what has changed.
        """
        changed = {name for name in differing(self._now, wanted) if name in LIVE}
        updates: dict[str, dict[str, object]] = {}
        for name in changed:
            leaf = leaves()[name]
            updates.setdefault(leaf.section, {})[leaf.key] = leaf.value_in(wanted)
        sections = {
            section: getattr(self._now, section).model_copy(update=values)
            for section, values in updates.items()
        }
        if sections:
            self._now = self._now.model_copy(update=sections)
        return frozenset(changed)


def waits_for_restart(now: Settings, wanted: Settings) -> list[str]:
    """Names of the settings that a process has only after a restart (pure)."""
    return [name for name in differing(now, wanted) if name not in LIVE]


def differing(one: Settings, other: Settings) -> list[str]:
    """Names of the settings that are not the same in both, in their order (pure)."""
    return [name for name, leaf in leaves().items() if leaf.value_in(one) != leaf.value_in(other)]
