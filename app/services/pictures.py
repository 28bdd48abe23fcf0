"""Pictures and files in the text of an answer: taken out of it, to be sent by themselves. Pure."""

import re
from dataclasses import replace
from typing import Final

from app.models.flow import AnswerFile
from app.services.dify.files import clean_name, is_shown, name_in
from app.services.dify.wire import (
    ChatEvent,
    Ended,
    Failed,
    FileSaid,
    Paused,
    TextDelta,
    TextReplaced,
    WorkflowFinished,
)
from app.services.media import MediaRules

#: A line is held back no longer than this, in characters; what it says is read then.
MAX_HELD: Final = 8192
_SHOWN: Final = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp")
_FENCES: Final = ("```", "~~~")
_HEAD_LENGTH: Final = 8
_ADDRESS = r"(?:[^\s<>()]|\([^\s<>()]{0,512}\)){1,2048}"
_TITLE = r"(?:\s{1,8}(?:\"[^\"\n]{0,512}\"|'[^'\n]{0,512}'))?\s{0,8}"
_PICTURE = rf"!\[(?P<alt>[^\[\]\n]{{0,512}})\]\(\s{{0,8}}<?(?P<source>{_ADDRESS})>?{_TITLE}\)"
_LINK = rf"\[(?P<words>[^\[\]\n]{{1,512}})\]\(\s{{0,8}}<?(?P<target>{_ADDRESS})>?{_TITLE}\)"
#: A picture, alone or as what a link shows; or a link.
_MEDIA = re.compile(rf"(?P<open>\[\s{{0,8}})?{_PICTURE}(?(open)\s{{0,8}}\]\({_ADDRESS}\))|{_LINK}")
_LINES = re.compile(r"[^\n]*\n|[^\n]+")
#: What a line may have in front of a picture and nothing else: the mark of a list or a quotation.
_MARKS = re.compile(r"[ \t]*(?:[-*+>]|\d{1,9}[.)]?)?[ \t]*")


class PictureScanner:
    """
    Reads a text while it is written.

    A line is let through as it comes until there is something in it that may become a picture or a
    link; the rest of it then comes with its end. All pieces together are the text without what the
    rules take; code stays as it is.
    """

    def __init__(self, rules: MediaRules) -> None:
        self._rules = rules
        self._files: list[AnswerFile] = []
        self._held = ""
        #: Of the line so far: its beginning, and how many backticks went by.
        self._head = ""
        self._ticks = 0
        #: The marks that opened the block of code in which this line is; empty: none.
        self._fence = ""
        self._was_blank = True
        self._has_dropped = False

    def take_files(self) -> list[AnswerFile]:
        """The files found since the last call."""
        files, self._files = self._files, []
        return files

    def feed(self, text: str) -> str:
        """What can be read of it, and of what was held back."""
        return "".join(self._part(part) for part in _LINES.findall(text))

    def finish(self) -> str:
        """What is left: no more text comes."""
        return self._release()

    def _part(self, part: str) -> str:
        """A line, or a piece of one."""
        self._held += part
        if self._held.endswith("\n") or len(self._held) > MAX_HELD:
            return self._release()
        start = self._held_from()
        passing, self._held = self._held[:start], self._held[start:]
        self._note(passing)
        return passing

    def _held_from(self) -> int:
        """The place behind which it is not certain yet what will be read."""
        text = self._held
        if self._fence or text.lstrip().startswith(_FENCES):
            return len(text) if self._head or text.strip() else 0
        if not self._head and _MARKS.fullmatch(text):
            return 0
        mark = text.find("[")
        if mark < 0:
            return len(text) - text.endswith("!")
        if not self._head and _MARKS.fullmatch(text[:mark].removesuffix("!")):
            return 0
        return mark - text[:mark].endswith("!")

    def _release(self) -> str:
        text, self._held = self._held, ""
        is_code = bool(self._fence) or (self._head + text).lstrip().startswith(_FENCES)
        before = len(self._files)
        read = text if is_code or "[" not in text else self._without_media(text)
        is_whole_line = not self._head
        self._note(text)
        if not text.endswith("\n"):
            has_gone = is_whole_line and len(self._files) > before and _MARKS.fullmatch(read)
            return "" if has_gone else read
        self._end_line()
        if is_whole_line and _MARKS.fullmatch(read.rstrip("\r\n")):
            if len(self._files) > before:
                self._has_dropped = True
                return ""
            if not read.strip():
                # The empty lines around a picture that is gone are one too many.
                is_second = self._has_dropped and self._was_blank
                self._was_blank, self._has_dropped = True, False
                return "" if is_second else read
        self._was_blank = self._has_dropped = False
        return read

    def _note(self, text: str) -> None:
        self._head = (self._head + text)[:_HEAD_LENGTH]
        self._ticks += text.count("`")

    def _end_line(self) -> None:
        marks = self._head.lstrip()[:3]
        if marks in _FENCES and self._fence in ("", marks):
            self._fence = "" if self._fence else marks
        self._head, self._ticks = "", 0

    def _without_media(self, text: str) -> str:
        def replaced(match: re.Match[str]) -> str:
            is_code = (self._ticks + text.count("`", 0, match.start())) % 2
            said = None if is_code else self._words_of(match)
            return match[0] if said is None else said

        return _MEDIA.sub(replaced, text)

    def _words_of(self, match: re.Match[str]) -> str | None:
        """What is read instead of a picture or a link; None: it stays."""
        source, target = match["source"], match["target"]
        file = _picture(match["alt"], source) if source else self._linked(target)
        settled = None if file is None else self._rules.settle(file)
        if settled is None or self._rules.leaves(settled):
            return None
        self._files.append(settled)
        return "" if source else match["words"]

    def _linked(self, target: str) -> AnswerFile | None:
        """A file that the app keeps; pages are no files."""
        if not self._rules.is_own_file(target):
            return None
        name = name_in(target)
        is_image = name.lower().endswith(_SHOWN)
        return AnswerFile(url=target, name=name, is_image=is_image, is_from_text=True)


def _picture(alt: str, source: str) -> AnswerFile:
    name = clean_name(alt) or name_in(source)
    is_image = is_shown(name_in(source))
    return AnswerFile(url=source, name=name, is_image=is_image, is_from_text=True)


def without_media(text: str, rules: MediaRules) -> tuple[str, list[AnswerFile]]:
    """A whole text without what the rules take, and that."""
    scanner = PictureScanner(rules)
    read = scanner.feed(text) + scanner.finish()
    return read, scanner.take_files()


class MediaFilter:
    """The same for the events of a stream; files that Dify tells by themselves are settled, too."""

    def __init__(self, rules: MediaRules) -> None:
        self._rules = rules
        self._scanner = PictureScanner(rules)
        self._is_agent = False
        #: There is a text, so that nobody takes the run's output for it.
        self._has_text = False

    def feed(self, event: ChatEvent) -> list[ChatEvent]:
        """What *event* lets be read."""
        match event:
            case TextDelta():
                self._is_agent = event.is_agent
                return self._news(self._scanner.feed(event.text))
            case TextReplaced():
                self._scanner = PictureScanner(self._rules)
                text = self._scanner.feed(event.text)
                self._has_text = bool(text)
                return [replace(event, text=text), *self._news("")]
            case FileSaid():
                return [FileSaid(file=one) for one in self._rules.settle_all([event.file])]
            case WorkflowFinished() | Paused() | Ended() | Failed():
                return [*self.finish(), *self._end(event)]
            case _:
                return [event]

    def _end(self, event: WorkflowFinished | Paused | Ended | Failed) -> list[ChatEvent]:
        match event:
            case WorkflowFinished():
                answer, news = self._instead(event.answer)
                files = self._rules.settle_all(event.files)
                return [*news, replace(event, answer=answer, files=files)]
            case Paused():
                form, news = self._instead(event.form)
                return [*news, replace(event, form=form)]
            case Ended():
                return [replace(event, files=self._rules.settle_all(event.files))]
            case Failed():
                return [event]

    def finish(self) -> list[ChatEvent]:
        """What is left when no event comes any more."""
        return self._news(self._scanner.finish())

    def _instead(self, text: str) -> tuple[str, list[ChatEvent]]:
        """What is told if nothing else was."""
        if self._has_text:
            return text, []
        read, files = without_media(text, self._rules)
        return read, [FileSaid(file=file) for file in files]

    def _news(self, text: str) -> list[ChatEvent]:
        self._has_text = self._has_text or bool(text)
        news: list[ChatEvent] = [FileSaid(file=file) for file in self._scanner.take_files()]
        return [TextDelta(text=text, is_agent=self._is_agent), *news] if text else news
