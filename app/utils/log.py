"""
Logging: one console sink, ``app.log`` and ``app_error.log``; no line holds a secret.

A message is an event name, its facts are fields::

    logger.bind(group=group_id).info("reply.sent", segments=2)

The message itself is a constant: loguru formats it when fields are given, so a text with braces in
it would break the call. What varies is a field.

Whatever a message, a field or an exception holds, a record keeps to its own lines: control
characters are escaped, tracebacks are indented. Message text belongs into ``text_digest``, or
below INFO.
"""

import hashlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, TextIO

import orjson
from loguru import logger

from app.utils.log_capture import StandardLibrary
from app.utils.log_files import BackgroundGzip, DeleteOlder
from app.utils.redact import HIDDEN, Redactor, escape_controls, is_secret_name

if TYPE_CHECKING:
    from loguru import Record, RecordException

ROTATION = "50 MB"
RETENTION = timedelta(days=14)
#: Characters of one message or field, and of one traceback; the rest is cut off.
MAX_TEXT = 16_384
MAX_TRACEBACK = 65_536
_DIGEST_KEY = os.urandom(16)


class LogOptions(Protocol):
    """The section ``log`` of the settings, as far as it is needed here."""

    @property
    def level(self) -> str: ...
    @property
    def dir(self) -> str: ...
    @property
    def format(self) -> str: ...


@contextmanager
def message_context(message_id: int | str, **fields: Any) -> Iterator[None]:
    """Every line logged inside, also by tasks started inside, carries the message's id."""
    with logger.contextualize(message_id=message_id, **fields):
        yield


def text_digest(text: str) -> str:
    """
    Length and a short hash, to recognise a text in the log without showing it.

    The hash is keyed for this process: equal texts look equal until the next start, and nobody
    finds a text by trying.
    """
    raw = text.encode("utf-8", "surrogatepass")
    return f"{len(text)}#{hashlib.blake2b(raw, digest_size=4, key=_DIGEST_KEY).hexdigest()}"


def configure_logging(
    options: LogOptions,
    *,
    secrets: Sequence[str] = (),
    console: TextIO | None = None,
    name: str = "app",
    rotation: str = ROTATION,
    retention: timedelta = RETENTION,
) -> "Logging":
    """
    Send everything that is logged, also through the standard library, to console and files.

    Call it once per process and close the handle at the end. If the folder cannot be written
    (a read-only container) the console alone is used, and one warning says so.

    Args:
        options: Level, folder, form of the console's lines.
        secrets: Texts to hide wherever they appear (``Settings.secrets()``).
        console: Where people look; standard error if None.
        name: First part of the files' names. Processes that share a folder need different
            names: two of them cannot rotate one file.
        rotation: A file is closed at this size.
        retention: Closed files are deleted after this time.
    """
    logger.remove()
    logger.configure(patcher=_Patcher(Redactor(secrets)))
    stream = sys.stderr if console is None else console
    line = _json_line if options.format == "json" else _text_line
    _add(stream, level=options.level, line=line)
    gzip = BackgroundGzip()
    handle = Logging(gzip=gzip, std=StandardLibrary(logger.level(options.level).no))
    folder = Path(options.dir)
    kept: dict[str, Any] = {
        "rotation": rotation,
        "retention": DeleteOlder(retention),
        "compression": gzip,
        "encoding": "utf-8",
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _add(folder / f"{name}.log", level=options.level, line=_text_line, **kept)
        _add(folder / f"{name}_error.log", level="ERROR", line=_text_line, **kept)
    except OSError as error:
        logger.warning(
            "log.no_files 日志目录不可写,只输出到控制台", dir=str(folder), reason=error.strerror
        )
    return handle


class Logging:
    """What ``configure_logging`` set up."""

    def __init__(self, *, gzip: BackgroundGzip, std: StandardLibrary) -> None:
        self._gzip = gzip
        self._std = std

    def close(self) -> None:
        """Write out and close the files; give the standard library back its handlers."""
        self._std.restore()
        logger.remove()
        logger.configure(patcher=_leave_alone)
        self._gzip.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Patcher:
    """
    Makes a record safe before any sink sees it.

    The traceback is formatted here and the exception taken away, since its own text, its
    causes' and its arguments' may hold secrets too.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def __call__(self, record: "Record") -> None:
        exception = record["exception"]
        record["message"] = self._one_line(record["message"])
        record["extra"] = {
            _field_name(name): self._field(name, value) for name, value in record["extra"].items()
        }
        if exception is not None and exception.value is not None:
            record["extra"]["exc"] = self._traceback(exception)
        record["exception"] = None

    def _one_line(self, text: str) -> str:
        return escape_controls(self._redactor.hide_and_cut(text, MAX_TEXT))

    def _field(self, name: str, value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float):
            return value
        return HIDDEN if is_secret_name(name) else self._one_line(_safely(lambda: str(value)))

    def _traceback(self, exception: "RecordException") -> str:
        text = _safely(lambda: "".join(traceback.format_exception(*exception)))
        hidden = self._redactor.hide_and_cut(text.rstrip("\n"), MAX_TRACEBACK)
        return "\n".join(f"    {escape_controls(line)}" for line in hidden.split("\n"))


def _add(sink: TextIO | Path, *, level: str, line: Callable[["Record"], str], **kept: Any) -> None:
    logger.add(
        sink, level=level, format=line, enqueue=False, backtrace=False, diagnose=False, **kept
    )


def _text_line(record: "Record") -> str:
    """The line for people; the template is constant, so nothing in a message is markup."""
    extra = record["extra"]
    where = extra.get("logger") or f"{record['name']}:{record['function']}:{record['line']}"
    fields = [f"{name}={_quoted(value)}" for name, value in extra.items() if name not in _NO_FIELDS]
    words = " ".join([f"[{extra.get('message_id', '-')}]", record["message"], *fields])
    tail = f"\n{extra['exc']}" if "exc" in extra else ""
    extra["_line"] = (_timestamp(record), f"{record['level'].name:<8}", where, words + tail)
    return (
        "<green>{extra[_line][0]}</green> | <level>{extra[_line][1]}</level> | "
        "<cyan>{extra[_line][2]}</cyan> | {extra[_line][3]}\n"
    )


def _json_line(record: "Record") -> str:
    """The line for machines; ids are texts, since many readers round large numbers."""
    extra = record["extra"]
    fields = {name: value for name, value in extra.items() if name not in _NO_FIELDS}
    head = {
        "time": _timestamp(record),
        "level": record["level"].name,
        "logger": extra.get("logger") or record["name"],
        "message_id": str(extra.get("message_id", "")),
        "message": record["message"],
    }
    body = {**fields, **head, **({"exc": extra["exc"]} if "exc" in extra else {})}
    extra["_json"] = orjson.dumps(body, default=str).decode()
    return "{extra[_json]}\n"


#: Made here; a field of that name gets another one, or it could pass for ours.
_RESERVED = frozenset({"exc", "_line", "_json"})
_NO_FIELDS = _RESERVED | {"logger", "message_id"}


def _field_name(name: str) -> str:
    return f"{name}_" if name in _RESERVED else escape_controls(name)


def _timestamp(record: "Record") -> str:
    return record["time"].isoformat(sep=" ", timespec="milliseconds")


def _quoted(value: Any) -> str:
    """A field's value; in quotes if a reader could not see where it ends."""
    text = str(value)
    if isinstance(value, str) and (not text or any(char in text for char in " =\"'")):
        return orjson.dumps(text).decode()
    return text


def _safely(make: Callable[[], str]) -> str:
    try:
        return make()
    except Exception as error:  # noqa: BLE001 - a value that cannot be shown must not break its caller
        return f"<{type(error).__name__} while formatting>"


def _leave_alone(_: "Record") -> None:
    """The patcher after the end: loguru has no way to take one away."""
