"""Bytes of an event stream into events, however the network cuts them. No I/O, no JSON."""

from dataclasses import dataclass

from app.services.errors import DifyProtocolError

MAX_EVENT_BYTES = 16 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, kw_only=True, slots=True)
class SseEvent:
    """One dispatched event. Dify's ping has a name and no data; its other events the reverse."""

    name: str = ""
    data: str = ""


class SseDecoder:
    """
    Incremental decoder of ``text/event-stream``.

    Lines end at the byte ``\\n`` only (one ``\\r`` before it goes with it): a lone CR, U+2028, U+2029
    and U+0085 are data, since Dify writes them raw inside its JSON. A line is decoded when it is
    whole, so a character cut by the network stays in one piece. An event that the end of the
    stream leaves without its blank line is dropped. ``id`` and ``retry`` mean nothing here.

    Source: WHATWG HTML, "Event stream interpretation"; unlike there, an event with a name and no
    data is dispatched.
    """

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._buffer = bytearray()
        self._scanned = 0
        self._is_start = True
        self._name = ""
        self._data: list[str] = []
        self._has_fields = False
        self._event_bytes = 0

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """
        The events that *chunk* completes.

        Raises:
            DifyProtocolError: an event is longer than the bound; the decoder is of no use any more.
        """
        self._buffer += chunk
        if self._is_start and not self._skip_bom():
            return []
        events: list[SseEvent] = []
        start = 0
        while (end := self._buffer.find(b"\n", max(start, self._scanned))) >= 0:
            self._check_size(end - start)
            event = self._take_line(self._buffer[start:end])
            if event is not None:
                events.append(event)
            start = end + 1
        del self._buffer[:start]
        self._scanned = len(self._buffer)
        self._check_size(self._scanned)
        return events

    def _skip_bom(self) -> bool:
        """False: too few bytes to know yet."""
        if len(self._buffer) < len(_BOM) and _BOM.startswith(self._buffer):
            return False
        if self._buffer.startswith(_BOM):
            del self._buffer[: len(_BOM)]
        self._is_start = False
        return True

    def _check_size(self, line_bytes: int) -> None:
        if self._event_bytes + line_bytes > self._max_event_bytes:
            raise DifyProtocolError(f"事件流中的单个事件超过 {self._max_event_bytes} 字节")

    def _take_line(self, raw: bytearray) -> SseEvent | None:
        size = len(raw)
        if raw.endswith(b"\r"):
            del raw[-1:]
        if not raw:
            return self._dispatch()
        name, _, value = raw.partition(b":")
        value = value[1:] if value.startswith(b" ") else value
        if name == b"data":
            self._data.append(value.decode("utf-8", "replace"))
        elif name == b"event":
            self._name = value.decode("utf-8", "replace")
        else:
            return None
        self._has_fields = True
        self._event_bytes += size
        return None

    def _dispatch(self) -> SseEvent | None:
        event = SseEvent(name=self._name, data="\n".join(self._data))
        has_fields = self._has_fields
        self._name, self._data = "", []
        self._has_fields, self._event_bytes = False, 0
        return event if has_fields else None
