"""Testing a connection with values that are typed and not saved yet, by the checks of ``doctor``."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

from app.connection_checks import check_apps, check_gateways
from app.services.checks.report import Checked, Outcome
from app.utils.redact import Redactor
from config import LoadedSettings, Settings, SettingsError


class Draft:
    """The settings of the next start with what was typed on top, whatever fixes them."""

    def __init__(self, loaded: LoadedSettings, typed: Mapping[str, Any]) -> None:
        """
        Args:
            typed: by dotted name.

        Raises:
            SettingsError: it would be refused at a start.
        """
        self.settings: Settings = loaded.outside.tried(loaded.console, typed)
        self._redactor = Redactor(self.settings.secrets())

    async def check_gateway(self) -> list[Checked]:
        """The login of the flat settings."""
        only = self.settings.ecloud.model_copy(update={"accounts": ()})
        return self._safe(await check_gateways(only) or [_lacking(self.settings.ecloud.missing)])

    async def check_app(self) -> list[Checked]:
        """The app of the flat settings."""
        only = self.settings.dify.model_copy(update={"apps": (), "fallback": ""})
        found = await check_apps(only, self._zone())
        return self._safe(found or [_lacking(self.settings.dify.missing)])

    async def check_account(self, name: str) -> list[Checked]:
        """One of the further logins."""
        ecloud = self.settings.ecloud
        mine = tuple(one for one in ecloud.accounts if one.name == name)
        return self._safe(await check_gateways(_without_flat(ecloud, accounts=mine)))

    async def check_other_app(self, name: str) -> list[Checked]:
        """One of the further apps."""
        dify = self.settings.dify
        mine = tuple(one for one in dify.apps if one.name == name)
        alone = tuple(one.model_copy(update={"fallback": None}) for one in mine)
        only = _without_flat(dify, apps=alone, fallback="")
        return self._safe(await check_apps(only, self._zone()))

    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self.settings.conversations.timezone)

    def _safe(self, lines: Sequence[Checked]) -> list[Checked]:
        """What a peer said may repeat a key."""
        return [replace(one, text=self._redactor.hide(one.text)) for one in lines]


def refused_lines(error: SettingsError) -> list[Checked]:
    """What is wrong with what was typed, as lines of a test."""
    return [Checked("设置", Outcome.FAILED, str(one)) for one in error.problems]


def is_well(lines: Sequence[Checked]) -> bool:
    """Whether nothing failed."""
    return all(one.outcome is not Outcome.FAILED for one in lines)


def _lacking(names: Sequence[str]) -> Checked:
    return Checked("设置", Outcome.FAILED, f"还没有填:{'、'.join(names)}")


def _without_flat(section: Any, **update: Any) -> Any:
    return section.model_copy(update={"base_url": "", **update})
