"""What members sent and the gateway keeps: the calls that tell where it is, and the place itself."""

from collections import deque
from collections.abc import Iterable
from typing import Protocol

from aiohttp import web

from simulators.ecloud_envelope import Body, Done, Endpoint, Refused, logged_in, required
from simulators.ecloud_speech import Said
from simulators.ecloud_world import World
from simulators.faults import FaultSwitches
from simulators.recorder import Recorder

PLACE = "/media/"
#: Largest picture that a page may send, and how many of them are kept.
MOST_BYTES = 4 * 1024 * 1024
MOST_KEPT = 20
PICTURES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
}
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000100000000003a7e9b55"
    "0000000a49444154789c63600000000200015e7321360000000049454e44ae426082"
)


def picture_type(data: bytes) -> str | None:
    """The media type of a picture by its first bytes; None: it is none that WeChat would show."""
    return next((told for begin, told in PICTURES.items() if data.startswith(begin)), None)


class Server(Protocol):
    """Where the gateway listens."""

    @property
    def url(self) -> str:
        """Its address."""
        ...


class MediaEndpoints:
    """Pictures and files by the callback's own msgId and content; what else is asked for is refused."""

    def __init__(
        self,
        world: World,
        faults: FaultSwitches,
        history: Iterable[Said],
        server: Server,
        recorder: Recorder,
    ) -> None:
        #: By msgId: what is kept; anything else said is a small picture.
        self.kept: dict[str, bytes] = {}
        #: In its place, if the gateway names another one.
        self.place: str | None = None
        self._pictures: deque[str] = deque()
        self._world = world
        self._faults = faults
        self._history = history
        self._server = server
        self._recorder = recorder

    def table(self) -> dict[str, Endpoint]:
        """Path to endpoint."""
        return {"/getMsgImg": self.picture, "/getMsgFile": self.file}

    def keep_picture(self, msg_id: int, data: bytes) -> None:
        """Have what a page sent; of such pictures the newest are kept."""
        while len(self._pictures) >= MOST_KEPT:
            self.kept.pop(self._pictures.popleft(), None)
        self.kept[str(msg_id)] = data
        self._pictures.append(str(msg_id))

    async def picture(self, body: Body) -> Done:
        """The usual size; the large one is often missing."""
        if required(body, "type") not in {"0", "1"}:
            raise Refused("参数type错误")
        return self._found(body, "/getMsgImg", "80002")

    async def file(self, body: Body) -> Done:
        """Not before it is all there."""
        return self._found(body, "/getMsgFile", "80009")

    def _found(self, body: Body, path: str, message_type: str) -> Done:
        logged_in(self._world, body)
        msg_id, content = required(body, "msgId"), required(body, "content")
        said = next((one for one in self._history if str(one.msg_id) == msg_id), None)
        is_right = said is not None and (said.message_type, said.text) == (message_type, content)
        if not is_right or self._faults.strike("media_late", path):
            raise Refused("系统失败,请重试")
        return Done(data={"url": self.place or f"{self._server.url}{PLACE}{msg_id}"})

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """GET of the place; whoever knows it may have it."""
        msg_id = request.match_info["id"]
        told = {name: request.headers.get(name, "") for name in ("Authorization", "Cookie")}
        self._recorder.note("media", msg_id, "served", **told)
        data = self.kept.get(msg_id, PNG)
        return web.Response(
            body=data, content_type=picture_type(data) or "application/octet-stream"
        )
