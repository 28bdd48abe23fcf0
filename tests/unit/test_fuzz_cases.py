"""A short fuzz run, and that it can fail."""

import random

import pytest
from typing_extensions import override

from app.services.dify.sse import SseDecoder, SseEvent
from bench import fuzz, fuzz_cases
from bench.fuzz_cases import all_cases

CASES_EACH = 60


@pytest.mark.parametrize("name", sorted(all_cases()))
def test_random_input_has_a_typed_outcome(name: str) -> None:
    """The same as ``python -m bench fuzz``, for a moment."""
    case = all_cases()[name]

    verdicts = [case(random.Random(number)) for number in range(CASES_EACH)]

    assert [wrong for _, wrong in verdicts if wrong] == []
    assert all(outcome for outcome, _ in verdicts)


def test_a_decoder_that_forgets_what_was_cut_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each chunk decoded by itself: the planted defect that the cuttings are there for."""

    class Forgetful(SseDecoder):
        @override
        def feed(self, chunk: bytes) -> list[SseEvent]:
            return SseDecoder().feed(chunk)

    monkeypatch.setattr(fuzz_cases, "SseDecoder", Forgetful)

    assert fuzz.main(["--seconds", "0.5", "--only", "stream cut"]) == 1


def test_an_untyped_exception_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """And told with its case, for it to be repeated."""

    def parse(_: object) -> None:
        raise KeyError("answer")

    monkeypatch.setattr(fuzz_cases, "parse_frame", parse)

    assert fuzz.main(["--only", "stream cut", "--case", "3"]) == 1
