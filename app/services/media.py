"""
Which files of an answer go into the group as what they are, and which only as a link. Pure.

The gateway fetches what it sends, from wherever it stands; so an address is handed to it only if it can
be fetched from everywhere, and belongs to the app or to a host that the settings allow.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl

from loguru import logger

from app.models.flow import Answer, AnswerFile, LinkReason, Segment, SegmentKind
from app.services.addresses import WebAddress, matches_host, read_address
from app.services.dify.files import MAX_URL, OWN_PATH, name_in
from app.services.markdown.links import image_text

#: Most files of one answer that are sent; the others are told as links.
MAX_FILES = 9
_UNNAMED = "file"


@dataclass(frozen=True, kw_only=True, slots=True)
class MediaRules:
    """Where files of one app may lie."""

    #: The app's own address, and that under which its files can be fetched from outside.
    base: WebAddress | None = None
    files_base: WebAddress | None = None
    #: Other hosts whose files are sent.
    hosts: tuple[str, ...] = ()
    is_on: bool = True

    def settle(self, file: AnswerFile) -> AnswerFile | None:
        """The file with a whole address, and whether it is sent; None: nobody could open it."""
        address = self._resolve(file.url)
        if address is None:
            return None
        is_own = self.is_own(address)
        if is_own and self.files_base is not None and address.origin != self.files_base.origin:
            address = read_address(address.below(self.files_base))
        if address is None or len(str(address)) > MAX_URL:
            return None
        return replace(file, url=str(address), link_reason=self._link_reason(address, is_own))

    def settle_all(self, files: Iterable[AnswerFile]) -> tuple[AnswerFile, ...]:
        """Those of them that somebody can open."""
        settled = (self.settle(file) for file in files)
        return tuple(file for file in settled if file is not None)

    def leaves(self, file: AnswerFile) -> bool:
        """Whether a settled file stays in the text as the link that it is there."""
        return file.link_reason is LinkReason.FOREIGN_HOST

    def is_own(self, address: WebAddress) -> bool:
        """
        Whether it belongs to the app.

        A signed file of Dify at a host of some inner network is taken for the app's, too: many Dify
        know no other name of themselves.
        """
        own = [one.origin for one in (self.base, self.files_base) if one is not None]
        return address.origin in own or (address.is_private and _is_signed(address))

    def is_own_file(self, url: str) -> bool:
        """Whether it is the address, perhaps without a host, of a file that the app keeps."""
        address = self._resolve(url)
        return address is not None and _is_signed(address) and self.is_own(address)

    def _resolve(self, url: str) -> WebAddress | None:
        """A path belongs to the app's own host."""
        if not url.startswith("/"):
            return read_address(url)
        if self.base is None or url.startswith("//"):
            return None
        return read_address(str(replace(self.base, target="")) + url)

    def _link_reason(self, address: WebAddress, is_own: bool) -> LinkReason | None:
        if not self.is_on:
            return LinkReason.OFF
        if not is_own and not matches_host(address.host, self.hosts):
            return LinkReason.FOREIGN_HOST
        return LinkReason.PRIVATE_HOST if address.is_private else None


def _is_signed(address: WebAddress) -> bool:
    names = {name for name, _ in parse_qsl(address.target.partition("?")[2])}
    return address.path.startswith(OWN_PATH) and "sign" in names


def bounded(answer: Answer) -> Answer:
    """The answer with no more files than are sent at once; the others are links."""
    files: list[AnswerFile] = []
    for file in answer.files:
        is_sent = sum(one.link_reason is None for one in files) < MAX_FILES
        reason = file.link_reason or (None if is_sent else LinkReason.TOO_MANY)
        files.append(replace(file, link_reason=reason))
    return replace(answer, files=tuple(files))


def file_segments(answer: Answer, *, start: int) -> list[Segment]:
    """What follows the text: each file that is sent, and behind them the links in one message."""
    answer = bounded(answer)
    sent = [_contents(file) for file in answer.files if file.link_reason is None]
    links = [_link(file) for file in answer.files if file.link_reason is not None]
    if links:
        sent.append((SegmentKind.TEXT, "\n".join(links)))
    return [Segment(seq=start + i, kind=kind, content=text) for i, (kind, text) in enumerate(sent)]


def _contents(file: AnswerFile) -> tuple[SegmentKind, str]:
    if file.is_image:
        return SegmentKind.IMAGE, file.url
    return SegmentKind.FILE, f"{file.name or name_in(file.url) or _UNNAMED}\n{file.url}"


def _link(file: AnswerFile) -> str:
    return image_text(file.name, file.url) if file.is_image else f"{file.label} ({file.url})"


def read_file_content(content: str) -> tuple[str, str]:
    """Name and address of a segment that is a file."""
    name, _, url = content.partition("\n")
    return name, url


def note_links(answer: Answer) -> None:
    """Tell the operator of files that the group got as links, though they could have been sent."""
    reasons = Counter(file.link_reason for file in bounded(answer).files)
    for reason, files in reasons.items():
        if reason not in (None, LinkReason.OFF):
            logger.warning("reply.files_as_links", files=files, reason=str(reason))
