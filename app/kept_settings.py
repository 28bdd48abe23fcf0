"""
What the console changed, as it is read before anything else is built.

The database has it. On servers a copy lies in the data folder, so that a start while the database
is away has the same gateway and the same apps; only its owner can read it.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from loguru import logger
from sqlalchemy import URL, create_engine
from sqlalchemy.exc import DBAPIError

from app.services.overrides import STORED
from app.utils.database_faults import lacks_tables
from app.utils.db import async_url, is_sqlite, sync_url
from config import LoadedSettings, Outside, Problem, SettingsError, read_process_outside
from settings.console import PLACE

COPY: Final = "console-settings.json"
OWNER_ONLY: Final = 0o600
#: A server that does not answer by then is away, in seconds.
CONNECT_SECONDS: Final = 5
_AWAY: Final = "数据库不可用,后台改过的设置"


def settle_process() -> LoadedSettings:
    """
    The settings of a process that is started from the project's folder.

    Raises:
        SettingsError: they are none to start with; the text says so in Chinese.
    """
    return settle(read_process_outside())


def settle(outside: Outside) -> LoadedSettings:
    """
    The settings in force: what the sources say, and what the console changed.

    Raises:
        SettingsError: as ``settle_process``; what the console changed is told how to be undone.
    """
    try:
        url: str = outside.value("database_url").get_secret_value()
    except SettingsError:
        # Whatever else is wrong is told, too.
        return outside.settled({})
    stored, warnings = _stored(url)
    try:
        return outside.settled(stored, warnings=warnings)
    except SettingsError as error:
        others = _problems_without_console(outside)
        raise SettingsError(
            one if one in others else _with_way_out(one, stored) for one in error.problems
        ) from None


def _problems_without_console(outside: Outside) -> Sequence[Problem]:
    """What is wrong whatever the console changed."""
    try:
        outside.settled({})
    except SettingsError as error:
        return error.problems
    return ()


def _with_way_out(problem: Problem, stored: Mapping[str, Any]) -> Problem:
    """How a change is undone that keeps the bridge from starting; of a rule between two, any of them."""
    name = ".".join(problem.setting.split(".")[:2])
    section = name.partition(".")[0]
    near = [one for one in stored if one.partition(".")[0] == section]
    names = [name] if problem.source == PLACE else near
    if not names:
        return problem
    return replace(problem, hint=f"撤销后台的改动:python -m app.cli settings unset {names[0]}")


def folder_of(database_url: str) -> Path:
    """Where files of this installation lie: beside the SQLite file, else ``data``."""
    if is_sqlite(database_url):
        return Path(str(async_url(database_url).database)).parent
    return Path("data")


class KeptCopy:
    """
    The last known changes of the console, for a start without the database.

    Commands only read it: whoever runs them need not be who the service runs as.
    """

    def __init__(self, database_url: str) -> None:
        # A file of SQLite lies in the same folder: who has lost it has lost the copy.
        self._path = None if is_sqlite(database_url) else folder_of(database_url) / COPY

    def read(self) -> dict[str, Any] | None:
        """What was written last; None: nothing that can be read."""
        try:
            found = json.loads(self._path.read_text("utf-8")) if self._path else None
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def write(self, values: Mapping[str, Any]) -> None:
        """Replace it, at once and wholly; a folder that cannot be written is told of."""
        if self._path is None or self.read() == dict(values):
            return
        new = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new.unlink(missing_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with os.fdopen(os.open(new, flags, OWNER_ONLY), "w", encoding="utf-8") as file:
                json.dump(values, file, ensure_ascii=False)
            new.replace(self._path)
        except OSError as error:
            logger.warning("settings.not_copied", path=str(self._path), reason=error.strerror)


def _stored(url: str) -> tuple[Mapping[str, Any], list[str]]:
    """What the console changed, and what the operator has to know about that."""
    try:
        values = _select(url)
    except Exception as error:  # noqa: BLE001 - whatever it is: opening the database will say it
        reason = type(error).__name__
        copy = KeptCopy(url).read()
        if copy is None:
            return {}, [f"{_AWAY}没有读到({reason}):先用其余来源的值,恢复后重启"]
        return copy, [f"{_AWAY}用的是最近一次的副本({reason})"]
    return values, []


def _select(url: str) -> dict[str, Any]:
    """
    The table's rows; none where there is no table yet.

    Raises:
        Exception: the database is away, or the driver does not accept the address.
    """
    address = sync_url(url)
    if is_sqlite(url) and not Path(str(address.database)).is_file():
        return {}
    engine = create_engine(address, hide_parameters=True, connect_args=_patience(address))
    try:
        with engine.connect() as connection:
            return {row.name: row.value for row in connection.execute(STORED)}
    except DBAPIError as error:
        if lacks_tables(error):
            return {}
        raise
    finally:
        engine.dispose()


def _patience(address: URL) -> dict[str, Any]:
    is_told = address.get_backend_name() == "sqlite" or "connect_timeout" in address.query
    return {} if is_told else {"connect_timeout": CONNECT_SECONDS}
