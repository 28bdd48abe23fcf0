"""
What is fuzzed: each case makes an input of a seed and says what is wrong with the outcome.

Recorded streams are the seeds of the streams; a case is right if any cutting gives the same outcome and
every exception is typed.
"""

import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from app.models.flow import GroupMessage, Ignored, Quotation
from app.services.dify.assembly import Assembly
from app.services.dify.parsing import parse_frame
from app.services.dify.responses import Reply, decipher
from app.services.dify.sse import SseDecoder
from app.services.dify.thinking import ThinkFilter, without_thinking
from app.services.dify.wire import ChatEvent, TextDelta, TextReplaced
from app.services.ecloud.callback import parse_callback
from app.services.errors import DifyError
from app.services.plain_stream import PlainStream
from app.services.plain_text import PlainText
from tests.unit.dify import captures

ROOT = Path(__file__).parents[1]
#: So many changes one input gets at most.
CHANGES = 6
#: Of the cuttings so many are byte by byte, and of the frames so many get odd fields.
BY_BYTE, ODD = 0.1, 0.3
ODD_VALUES: Sequence[object] = (
    *(None, True, False, 0, -1, 1.5, 1e308, 2**70, "", " ", "\x00", "\ud800", "汉" * 50),
    *([], {}, [None], {"": {}}, [[[[[]]]]], "2026-01-01", "nan"),
)
WORDS = (
    *(
        "<think>",
        "</think>",
        "<details>",
        "<summary>",
        "</summary>",
        "</details>",
        "<think/>",
        "Thinking",
    ),
    *(
        "```",
        "~~~",
        "`",
        "``",
        "\n",
        "\n\n",
        "    ",
        "\t",
        "# ",
        "- ",
        "1. ",
        "> ",
        "| a | b |\n",
        "|--|",
    ),
    *(
        "**",
        "__",
        "*",
        "_",
        "~~",
        "[a](http://x)",
        "![](",
        ")",
        "[^1]",
        "<",
        ">",
        "&lt;",
        "\\",
        "---\n",
    ),
    *("汉字", "a", " ", ".", "。", "\u2028", "\r\n", "\r", "\ufeff", "🙂", "http://x.y/z_(a)"),
)

#: An outcome in words, and what is wrong with it; empty: nothing.
Verdict = tuple[str, str]
Case = Callable[[random.Random], Verdict]


def outcome_of(chunks: Iterable[bytes]) -> tuple[str, str]:
    """How an event stream ends, and its text: the same by whichever cutting."""
    decoder, assembly = SseDecoder(max_event_bytes=2**20), Assembly(has_conversation=True)
    try:
        for chunk in chunks:
            for event in decoder.feed(chunk):
                assembly.feed(parse_frame(event))
                if assembly.is_failed:
                    assembly.result()
        return "answered", assembly.result().text
    except DifyError as error:
        return type(error).__name__, assembly.text


def cut(data: bytes, rng: random.Random) -> list[bytes]:
    """The same in pieces, some of them empty."""
    if rng.random() < BY_BYTE:
        return [data[i : i + 1] for i in range(len(data))]
    ends = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randint(1, 12)))
    return [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]


class Streams:
    """Event streams: as recorded, damaged, in another order, with odd fields."""

    def __init__(self) -> None:
        recorded = [captures.load(name) for name in captures.names()]
        self._whole = [one.plain_body for one in recorded if one.is_stream]
        self._frames = [part for one in self._whole for part in one.split(b"\n\n") if part]

    def cases(self) -> Mapping[str, Case]:
        """By name."""
        return {
            "stream cut": lambda rng: _same_however_cut(rng.choice(self._whole), rng),
            "stream damaged": lambda rng: _same_however_cut(
                damaged(rng.choice(self._whole), rng), rng
            ),
            "stream reordered": self._reordered,
            "stream of odd fields": self._odd,
        }

    def _reordered(self, rng: random.Random) -> Verdict:
        frames = rng.choice(self._whole).split(b"\n\n")
        for _ in range(rng.randint(1, CHANGES)):
            self._reorder(frames, rng)
        return _same_however_cut(b"\n\n".join(frames) + b"\n\n", rng)

    def _reorder(self, frames: list[bytes], rng: random.Random) -> None:
        where = rng.randrange(len(frames) + 1)
        match rng.randrange(3):
            case 0:
                frames.insert(where, rng.choice(self._frames))
            case 1 if frames:
                frames.insert(where, frames.pop(rng.randrange(len(frames))))
            case _:
                del frames[where : where + 1]

    def _odd(self, rng: random.Random) -> Verdict:
        frames = rng.choice(self._whole).split(b"\n\n")
        for number, frame in enumerate(frames):
            if frame.startswith(b"data: {") and rng.random() < ODD:
                frames[number] = b"data: " + odd_json(frame[6:], rng)
        return _same_however_cut(b"\n\n".join(frames), rng)


def _same_however_cut(stream: bytes, rng: random.Random) -> Verdict:
    whole = outcome_of([stream])
    again = outcome_of(cut(stream, rng))
    return whole[0], "" if whole == again else f"{whole!r} and cut {again!r}: {stream!r}"


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Bytes flipped, lost, doubled and put in."""
    body = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, CHANGES))):
        start = rng.randrange(len(body) + 1)
        part = body[start : start + rng.randint(1, 40)]
        match rng.randrange(4):
            case 0 if start < len(body):
                body[start] = rng.randrange(256)
            case 1:
                del body[start : start + len(part)]
            case 2:
                body[start:start] = part
            case _:
                body[start:start] = rng.randbytes(rng.randint(1, 8))
    return bytes(body)


def odd_json(data: bytes, rng: random.Random) -> bytes:
    """The same document with fields lost, of another type, or under another name."""
    try:
        document = json.loads(data)
    except ValueError:
        return data
    for _ in range(rng.randint(1, CHANGES)):
        objects = [one for one in _objects(document) if one]
        if objects:
            _make_odd(rng.choice(objects), rng)
    return json.dumps(document).encode()


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for one in value.values():
            yield from _objects(one)
    elif isinstance(value, list):
        for one in value:
            yield from _objects(one)


def _make_odd(fields: dict[str, Any], rng: random.Random) -> None:
    name = rng.choice(list(fields))
    match rng.randrange(3):
        case 0:
            del fields[name]
        case 1:
            fields[name] = rng.choice(ODD_VALUES)
        case _:
            fields[rng.choice([*fields, "x"])] = fields.pop(name)


def text(rng: random.Random) -> str:
    """Marks of Markdown and of thinking, in any order."""
    return "".join(rng.choice(WORDS) for _ in range(rng.randint(0, 60)))


def pieces(whole: str, rng: random.Random) -> list[str]:
    """A text in deltas."""
    ends = sorted(rng.randrange(len(whole) + 1) for _ in range(rng.randint(0, 20)))
    return [whole[a:b] for a, b in zip([0, *ends], [*ends, len(whole)], strict=True)]


def thinking(rng: random.Random) -> Verdict:
    """Thinking is stripped alike from a whole text and from its deltas."""
    whole = text(rng)
    expected = without_thinking(whole)
    think, told = ThinkFilter(), ""
    for piece in pieces(whole, rng):
        told = _told(told, think.feed(TextDelta(text=piece)))
    told = _told(told, think.finish())
    return "text", "" if told == expected else f"{whole!r}: {expected!r}, in deltas {told!r}"


def _told(before: str, events: Iterable[ChatEvent]) -> str:
    for event in events:
        if isinstance(event, TextReplaced):
            before = event.text
        elif isinstance(event, TextDelta):
            before += event.text
    return before


def plain(rng: random.Random) -> Verdict:
    """Markdown of any kind is turned; in deltas nothing is lost but marks."""
    whole = text(rng)
    turned = PlainText().of(whole)
    stream = PlainStream(PlainText())
    told = "".join(stream.feed(piece) for piece in pieces(whole, rng)) + stream.finish()
    lost = _letters(turned) - _letters(told)
    return "text", f"{whole!r}: lost {lost!r}" if lost else ""


def _letters(value: str) -> set[str]:
    return {one for one in value if one in "汉字🙂"}


class Callbacks:
    """Samples of the gateway's callbacks with odd fields, and damaged."""

    def __init__(self) -> None:
        self._samples = [
            path.read_bytes() for path in (ROOT / "tests/samples/ecloud").glob("*.json")
        ]

    def cases(self) -> Mapping[str, Case]:
        """By name."""
        return {
            "callback of odd fields": lambda rng: self._parse(odd_json, rng),
            "callback damaged": lambda rng: self._parse(damaged, rng),
        }

    def _parse(
        self, change: Callable[[bytes, random.Random], bytes], rng: random.Random
    ) -> Verdict:
        raw = change(rng.choice(self._samples), rng)
        match parse_callback(raw):
            case GroupMessage():
                return "message", ""
            case Quotation():
                return "quotation", ""
            case Ignored(reason=reason):
                return str(reason), ""
            case other:
                return "", f"{other!r} of {raw!r}"


def response(rng: random.Random) -> Verdict:
    """Whatever comes with whatever status is an object or a typed error."""
    body = rng.choice(
        (b"", b"null", b"[]", b"<html><title>502</title>", b'{"code":"x","status":500}')
    )
    reply = Reply(
        status=rng.choice((200, 201, 204, 301, 400, 401, 403, 404, 413, 429, 500, 502, 503, 504)),
        body=damaged(body, rng),
        retry_after=rng.choice(("", "5", "-1", "nan", "Wed, 21 Oct 2099 07:28:00 GMT", "9" * 400)),
    )
    try:
        decipher(reply, has_conversation=rng.choice((True, False)), now=1.8e9)
    except DifyError as error:
        return type(error).__name__, ""
    return "object", ""


def all_cases() -> dict[str, Case]:
    """By name."""
    return {
        **Streams().cases(),
        **Callbacks().cases(),
        "thinking": thinking,
        "plain text": plain,
        "response": response,
    }
