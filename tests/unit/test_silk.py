"""Recordings on their way from the gateway's kinds to Dify's."""

import os
import subprocess
import sys
import wave
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.errors import VoiceNoDecoder, VoiceUnreadable
from app.services.silk import MAX_BYTES, MAX_SECONDS, RATE, has_decoder, recording_of
from simulators.ecloud_media import SILK

HEAD = b"\x02#!SILK_V3"
#: Samples of one packet.
PACKET = RATE // 50


def packets(*payloads: bytes, head: bytes = HEAD) -> bytes:
    """Silk of these packets."""
    return head + b"".join(len(one).to_bytes(2, "little") + one for one in payloads)


#: Packets that the decoder takes.
GOOD = [SILK[12:34], SILK[36:71], SILK[73:95]]


def frames_of(wav: bytes) -> int:
    """How many samples there are."""
    with wave.open(BytesIO(wav)) as sound:
        assert (sound.getnchannels(), sound.getsampwidth(), sound.getframerate()) == (1, 2, RATE)
        return int(sound.getnframes())


@pytest.mark.parametrize("silk", [SILK, SILK[1:], SILK + b"\xff\xff", SILK + b"\x20\x00abc"])
def test_silk_becomes_a_wav_of_its_whole_packets(silk: bytes) -> None:
    """With or without WeChat's first byte, with an end mark, and cut within a packet."""
    recording = recording_of(silk)

    assert (recording.name, recording.mime) == ("voice.wav", "audio/wav")
    assert frames_of(recording.data) == 3 * PACKET


@pytest.mark.parametrize(
    ("data", "mime"),
    [
        (b"#!AMR\n\x3c", "audio/amr"),
        (b"ID3\x04\x00", "audio/mp3"),
        (b"\xff\xfb\x90\x44", "audio/mp3"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "audio/wav"),
    ],
)
def test_what_dify_takes_stays_as_it_is(data: bytes, mime: str) -> None:
    """By its first bytes."""
    recording = recording_of(data)

    assert (recording.data, recording.mime) == (data, mime)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "unknown_kind"),
        (b"<html>expired</html>", "unknown_kind"),
        (b"RIFF\x24\x00\x00\x00AVI LIST", "unknown_kind"),
        (HEAD, "no_packets"),
        (HEAD + b"\xff\xff", "no_packets"),
        (HEAD + b"\x00\x00" * 9, "no_packets"),
        (HEAD + b"\xc1\x03" + bytes(961), "no_packets"),
        (packets(bytes(5)), "broken"),
        (packets(*[b"\x00"] * (MAX_SECONDS * 50 + 1)), "too_long"),
        (b"#!AMR" + bytes(MAX_BYTES), "too_large"),
    ],
)
def test_what_nobody_could_hear_says_why(data: bytes, reason: str) -> None:
    """One word each, before the decoder sees more of it than is bounded."""
    with pytest.raises(VoiceUnreadable, match=f"^{reason}$"):
        recording_of(data)


@given(
    st.lists(st.binary(min_size=1, max_size=960) | st.sampled_from(GOOD), max_size=60),
    st.binary(max_size=8),
)
def test_whatever_the_packets_hold_the_wav_is_no_longer_than_they_are(
    payloads: list[bytes], rest: bytes
) -> None:
    """Or there is none."""
    try:
        recording = recording_of(packets(*payloads) + rest)
    except VoiceUnreadable:
        return

    assert frames_of(recording.data) <= (len(payloads) + 4) * PACKET


RISING = """
import io, math, struct, pysilk
from app.services.silk import recording_of
tone = b"".join(struct.pack("<h", int(9000 * math.sin(i / 3))) for i in range(24_000))
def silk(bits):
    out = io.BytesIO()
    pysilk.encode(io.BytesIO(tone), out, 24_000, bits)
    return out.getvalue()
for number in range(20):
    recording_of(silk(6_000) + silk(60_000)[10:])
"""


def test_the_decoder_writes_within_its_buffer_when_a_recording_goes_to_its_highest_rate() -> None:
    """It makes the buffer for the rate asked for; the guard bytes around it tell."""
    environ = {**os.environ, "PYTHONMALLOC": "debug"}
    done = subprocess.run([sys.executable, "-c", RISING], env=environ, check=False)

    assert done.returncode == 0


def test_without_the_library_only_silk_is_not_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so of itself."""
    assert has_decoder()
    monkeypatch.setitem(sys.modules, "pysilk", None)

    assert not has_decoder()
    assert recording_of(b"#!AMR\n").extension == "amr"
    with pytest.raises(VoiceNoDecoder):
        recording_of(SILK)
