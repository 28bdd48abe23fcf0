"""
Recordings of WeChat as something that Dify takes: silk becomes WAV, what is known already stays.

Nothing here trusts what it is given: bytes, packets and length are bounded before the decoder sees
them, so that a small file cannot become a large one.
"""

import io
import wave
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Final

from app.services.errors import VoiceNoDecoder, VoiceUnreadable

#: Largest recording that is looked at, in bytes; a minute of WeChat's silk has about 0.15 million.
MAX_BYTES: Final = 2 * 1024 * 1024
#: Longest one, in seconds; WeChat ends them at 60.
MAX_SECONDS: Final = 90
#: Samples per second of what is made of silk. Not fewer: the decoder writes at the rate of the
#: recording, which is up to this one, into a buffer that the library makes for the rate asked for.
RATE: Final = 24_000

_MARK: Final = b"#!SILK_V3"
#: What WeChat puts in front of it, alone of all who write silk.
_WECHAT: Final = b"\x02"
_LENGTH_BYTES: Final = 2
#: Of one packet; the decoder takes no larger one.
_MAX_PACKET: Final = 960
#: The decoder makes 20 ms of each packet, whatever it says of itself.
_PACKETS_PER_SECOND: Final = 50
_SAMPLE_BYTES: Final = 2
#: By its first bytes what Dify takes as it is.
_TAKEN: Final = (
    (b"#!AMR", "amr"),
    (b"ID3", "mp3"),
    (b"\xff\xfb", "mp3"),
    (b"\xff\xf3", "mp3"),
    (b"\xff\xf2", "mp3"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Recording:
    """A recording of a kind that Dify takes."""

    data: bytes = field(repr=False)
    #: ``wav``, ``mp3`` or ``amr``.
    extension: str

    @property
    def name(self) -> str:
        """What the file is called at Dify."""
        return f"voice.{self.extension}"

    @property
    def mime(self) -> str:
        """As Dify compares it, to the letter."""
        return f"audio/{self.extension}"


def has_decoder() -> bool:
    """Whether silk can be decoded here; the library is not built for every platform."""
    return find_spec("pysilk") is not None


def recording_of(data: bytes) -> Recording:
    """
    What the gateway gave, for Dify. Takes up to a second of a processor: to be called in a thread.

    Raises:
        VoiceUnreadable: it is no recording, a broken one, or too long.
        VoiceNoDecoder: it is silk, and nothing here can decode that.
    """
    if len(data) > MAX_BYTES:
        raise VoiceUnreadable("too_large")
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return Recording(data=data, extension="wav")
    known = next((extension for mark, extension in _TAKEN if data.startswith(mark)), "")
    if known:
        return Recording(data=data, extension=known)
    if not data.removeprefix(_WECHAT).startswith(_MARK):
        raise VoiceUnreadable("unknown_kind")
    return Recording(data=_wav(_decoded(_whole_packets(data))), extension="wav")


def _whole_packets(data: bytes) -> bytes:
    """
    The silk as far as it consists of whole packets; each has its length in front of it.

    Raises:
        VoiceUnreadable: there is none, or there are too many.
    """
    silk = data.removeprefix(_WECHAT)
    at, packets = len(_MARK), 0
    while at + _LENGTH_BYTES <= len(silk):
        length = int.from_bytes(silk[at : at + _LENGTH_BYTES], "little")
        after = at + _LENGTH_BYTES + length
        if not 0 < length <= _MAX_PACKET or after > len(silk):
            break
        at, packets = after, packets + 1
        if packets > MAX_SECONDS * _PACKETS_PER_SECOND:
            raise VoiceUnreadable("too_long")
    if not packets:
        raise VoiceUnreadable("no_packets")
    return _WECHAT + silk[:at]


def _decoded(silk: bytes) -> bytes:
    """
    Samples of 16 bits, one channel.

    Raises:
        VoiceUnreadable: the decoder does not take it, or it has nothing in it.
        VoiceNoDecoder: there is none.
    """
    try:
        import pysilk  # noqa: PLC0415 - not every platform has it, and whoever needs no silk needs it not
    except ImportError as error:
        raise VoiceNoDecoder("silk-python") from error
    samples = io.BytesIO()
    try:
        pysilk.decode(io.BytesIO(silk), samples, RATE)
    except pysilk.SilkError as error:
        raise VoiceUnreadable("broken") from error
    if not samples.tell():
        raise VoiceUnreadable("empty")
    return samples.getvalue()


def _wav(samples: bytes) -> bytes:
    """The samples as a file."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(_SAMPLE_BYTES)
        file.setframerate(RATE)
        file.writeframes(samples)
    return out.getvalue()
