"""Segments of answers by the settings: how long they may be, and who is mentioned. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.models.flow import Answer, Segment, Turn
from app.services.media import file_segments
from app.services.segments import (
    JOIN_SECONDS,
    SegmentStream,
    mention_reserve,
    split_answer,
    to_segments,
)


@dataclass(frozen=True, slots=True)
class Segmenter:
    """Makes segments of answers: how long they may be, and who is mentioned (pure)."""

    max_length: int
    #: Seconds after which finished paragraphs of a stream are sent though they are few.
    join_seconds: float = JOIN_SECONDS

    def whole(self, turn: Turn, text: str) -> list[Segment]:
        """A whole text as segments."""
        pieces = split_answer(
            text, limit=self.max_length, reserve=mention_reserve(turn.mention_name)
        )
        return self.number(turn, pieces, start=turn.next_seq, mentions=True)

    def answer(self, turn: Turn, answer: Answer) -> list[Segment]:
        """A whole answer as segments: its text, and behind it its files."""
        words = self.whole(turn, answer.text)
        return [*words, *file_segments(answer, start=turn.next_seq + len(words))]

    def stream(self, turn: Turn, *, mentions: bool, is_mid_line: bool = False) -> SegmentStream:
        """For an answer that is being written; the mention needs room only in the very first piece."""
        reserve = mention_reserve(turn.mention_name) if mentions else 0
        return SegmentStream(
            limit=self.max_length,
            reserve=reserve,
            is_mid_line=is_mid_line,
            join_seconds=self.join_seconds,
        )

    def number(
        self, turn: Turn, pieces: Sequence[str], *, start: int, mentions: bool
    ) -> list[Segment]:
        """Pieces as segments from *start* on; the first one mentions the person who asked, if wanted."""
        name = turn.mention_name if mentions else ""
        segments = to_segments(pieces, limit=self.max_length, name=name, wc_id=turn.user)
        return [replace(segment, seq=start + segment.seq) for segment in segments]
