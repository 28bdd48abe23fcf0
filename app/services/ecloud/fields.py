"""Reading single fields of the gateway's JSON, where numbers and strings stand for one another."""

from collections.abc import Mapping
from typing import Any

from app.services.ecloud.wire import normal_id

#: Longest WeChat id and login id, in characters.
MAX_ID = 128
#: Longest developer account; the gateway's are phone numbers.
MAX_ACCOUNT = 64
#: Longest message id in digits; 64 bits have 20.
MAX_DIGITS = 32
#: Ids have 64 bits; a side that takes the first one for a sign writes them below zero.
_SIGNED = range(-(2**63), 0)
#: Timestamps from here on are milliseconds: as seconds they would lie in the year 5138.
_MILLISECONDS_FROM = 10**11
_LATEST_SECONDS = 10**10
_LONGEST_COUNT = 18

_TRUE = frozenset({"true", "1"})
_FALSE = frozenset({"false", "0", ""})


class Fields:
    """
    One JSON object, read field by field.

    A field that is missing, null or empty reads as empty. A field of another type than expected
    reads as empty too and is remembered in ``odd``; the reader goes on, so that whatever is
    readable is read.
    """

    def __init__(self, values: Mapping[str, Any], *, path: str = "") -> None:
        self._values = values
        self._path = path
        #: Path of the first field that had no acceptable value; empty: none.
        self.odd = ""

    def identifier(self, name: str, *, longest: int = MAX_ID) -> str:
        """A WeChat id, account or login id: printable, without spaces, a group's in lower case."""
        value = self._values.get(name)
        if value is None:
            return ""
        if isinstance(value, int) and not isinstance(value, bool):
            value = _spell(value)
        if not isinstance(value, str) or not is_identifier(value, longest=longest):
            return self._refuse(name) if value != "" else ""
        return normal_id(value)

    def hint(self, name: str, *, longest: int = MAX_ID) -> str:
        """An id that an answer does not depend on: an odd one reads as empty and is no matter."""
        return Fields(self._values).identifier(name, longest=longest)

    def digits(self, name: str) -> str:
        """A message id as its digits; 0 stands for "none" on the wire and reads as empty."""
        return self._digits(name, self._values.get(name))

    def seconds(self, *names: str) -> int:
        """Seconds since 1970 from the first of *names* that is there; 0 if none is."""
        for name in names:
            text = self._digits(name, _whole(self._values.get(name)))
            if text:
                value = int(text)
                if value >= _MILLISECONDS_FROM:
                    value //= 1000
                if value > _LATEST_SECONDS:
                    self._refuse(name)
                    return 0
                return value
        return 0

    def flag(self, name: str) -> bool:
        """A boolean, also as ``"true"``, ``1`` and the like; missing is false."""
        value = self._values.get(name)
        if value is None or isinstance(value, bool):
            return bool(value)
        word = str(value).lower() if isinstance(value, str | int) else "?"
        if word not in _TRUE | _FALSE:
            self._refuse(name)
        return word in _TRUE

    def identifiers(self, *names: str) -> tuple[str, ...]:
        """Ids from the first of *names* that is there: a list, or a string with commas."""
        for name in names:
            value = self._values.get(name)
            if value is None:
                continue
            if isinstance(value, str):
                value = [part.strip(" []\"'") for part in value.split(",")]
            if not isinstance(value, list):
                self._refuse(name)
                return ()
            found = (normal_id(item) for item in value if isinstance(item, str))
            return tuple(dict.fromkeys(item for item in found if is_identifier(item)))
        return ()

    def text(self, name: str) -> str:
        """A string as it is; a number as it is written: who types 42 may arrive as one."""
        value = self._values.get(name)
        if value is None:
            return ""
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        return value if isinstance(value, str) else self._refuse(name)

    def loose_text(self, name: str) -> str:
        """A string that an answer does not depend on: anything else reads as empty and is no matter."""
        value = self._values.get(name)
        return value if isinstance(value, str) else ""

    def loose_digits(self, name: str) -> str:
        """An id of digits that an answer does not depend on."""
        return Fields(self._values).digits(name)

    def count(self, name: str) -> int:
        """A size or a length; one that is odd is not known: 0."""
        digits = self.loose_digits(name)
        return int(digits) if 0 < len(digits) <= _LONGEST_COUNT else 0

    def _digits(self, name: str, value: Any) -> str:
        if value is None or value == "":
            return ""
        if isinstance(value, str) and _is_digits(value.removeprefix("-"), MAX_DIGITS):
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool):
            value = _spell(value + 2**64 if value in _SIGNED else value)
        if not isinstance(value, str) or not _is_digits(value, MAX_DIGITS):
            return self._refuse(name)
        return value.lstrip("0")

    def _refuse(self, name: str) -> str:
        self.odd = self.odd or self._path + name
        return ""


def is_identifier(value: str, *, longest: int = MAX_ID) -> bool:
    """Whether the string may be an id and so a part of a key: printable, no space, not too long."""
    return 0 < len(value) <= longest and value.isprintable() and " " not in value


def _whole(value: Any) -> Any:
    """Seconds without the ``.0`` of a serialiser that knows only doubles; anything else as it is."""
    if isinstance(value, str) and _is_digits(value.replace(".", "", 1), MAX_DIGITS):
        return value.partition(".")[0]
    is_number = isinstance(value, float) and 0 <= value < float("inf")
    return int(value) if is_number else value


def _spell(value: int) -> str:
    """The number's digits; a number too long to be an id becomes a word that is none."""
    return str(value) if abs(value).bit_length() <= 4 * MAX_DIGITS else "?" * (MAX_ID + 1)


def _is_digits(value: str, longest: int) -> bool:
    return len(value) <= longest and value.isascii() and value.isdecimal()
