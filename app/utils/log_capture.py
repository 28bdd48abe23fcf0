"""What others say, sent to our log: the standard library's loggers, warnings, a crash's last words."""

import logging
import sys
import warnings
from types import TracebackType
from typing import TextIO

from loguru import logger
from typing_extensions import override

#: Below this level these libraries are chatty, or log statements with message text in them.
QUIET = ("sqlalchemy", "aiosqlite", "asyncmy", "aiohttp", "asyncio", "redis", "fakeredis")
#: These bring handlers of their own.
OWN_HANDLERS = ("uvicorn", "uvicorn.error", "uvicorn.access", "alembic", "sqlalchemy")


class _InterceptHandler(logging.Handler):
    """Hands the standard library's records to loguru."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):  # arguments that do not fit the text
            message = f"{record.msg} {record.args}"
        level = record.levelname if record.levelname in _level_names() else record.levelno
        logger.opt(exception=record.exc_info).bind(logger=record.name).log(level, message)


class StandardLibrary:
    """Takes over the standard library's logging, its warnings and the last words of a crash."""

    def __init__(self, level: int) -> None:
        root = logging.getLogger()
        loggers = [root, *map(logging.getLogger, {*QUIET, *OWN_HANDLERS})]
        self._before = [(each, each.handlers[:], each.level, each.propagate) for each in loggers]
        self._excepthook, self._showwarning = sys.excepthook, warnings.showwarning
        for each in loggers:
            each.handlers, each.propagate = [], True
            each.setLevel(logging.NOTSET)
        for name in QUIET:
            logging.getLogger(name).setLevel(max(level, logging.WARNING))
        root.handlers = [_InterceptHandler()]
        root.setLevel(level)
        sys.excepthook, warnings.showwarning = _log_crash, _log_warning

    def restore(self) -> None:
        """Give everything back as it was."""
        for each, handlers, level, propagate in self._before:
            each.handlers, each.propagate = handlers, propagate
            each.setLevel(level)
        sys.excepthook, warnings.showwarning = self._excepthook, self._showwarning


def _log_crash(
    kind: type[BaseException], error: BaseException, where: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, where)
    else:
        logger.opt(exception=(kind, error, where)).critical("process.crashed")


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001 - nobody gives one
    line: str | None = None,  # noqa: ARG001 - the source's line, which may hold anything
) -> None:
    where = f"{filename}:{lineno}"
    logger.bind(logger="py.warnings").warning(
        "python.warning", category=category.__name__, text=str(message), where=where
    )


def _level_names() -> frozenset[str]:
    return frozenset({"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"})
