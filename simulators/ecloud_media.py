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
VOICE = "80004"
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000100000000003a7e9b55"
    "0000000a49444154789c63600000000200015e7321360000000049454e44ae426082"
)


#: 60 ms of a tone, as WeChat records it.
SILK = bytes.fromhex(
    "02232153494c4b5f5633130016a4e3bc5706260eaabdaabc7e375aae736b072300"
    "0d4e4aad886d4006ce5b1cc66173bb8d232285144ae2e4d9bc6813662e4f5d22d6"
    "96c719000865fd06050e4b14f2069bbb2316d0bfce642dadbe5c823dff"
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
    """Pictures, files and recordings by what their callbacks say; what else is asked for is refused."""

    def __init__(
        self,
        world: World,
        faults: FaultSwitches,
        history: Iterable[Said],
        server: Server,
        recorder: Recorder,
    ) -> None:
        #: By msgId: what is kept; anything else said is a small picture, or a short recording.
        self.kept: dict[str, bytes] = {}
        #: By who sent it, instead.
        self.kept_of: dict[str, bytes] = {}
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
        return {"/getMsgImg": self.picture, "/getMsgFile": self.file, "/getMsgVoice": self.voice}

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

    async def voice(self, body: Body) -> Done:
        """As silk; by what the callback says beside its XML."""
        logged_in(self._world, body)
        said = self._said(required(body, "msgId"))
        named = {name: required(body, name) for name in ("length", "bufId", "fromUser")}
        told = {} if said is None else {**said.extra, "fromUser": said.person}
        is_right = all(str(told.get(name)) == value for name, value in named.items())
        return self._where(said, "/getMsgVoice", is_right=is_right)

    def _found(self, body: Body, path: str, message_type: str) -> Done:
        logged_in(self._world, body)
        msg_id, content = required(body, "msgId"), required(body, "content")
        said = self._said(msg_id)
        is_right = said is not None and (said.message_type, said.text) == (message_type, content)
        return self._where(said, path, is_right=is_right)

    def _said(self, msg_id: str) -> Said | None:
        return next((one for one in self._history if str(one.msg_id) == msg_id), None)

    def _where(self, said: Said | None, path: str, *, is_right: bool) -> Done:
        if said is None or not is_right or self._faults.strike("media_late", path):
            raise Refused("系统失败,请重试")
        msg_id = str(said.msg_id)
        return Done(data={"url": self.place or f"{self._server.url}{PLACE}{msg_id}"})

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """GET of the place; whoever knows it may have it."""
        msg_id = request.match_info["id"]
        told = {name: request.headers.get(name, "") for name in ("Authorization", "Cookie")}
        self._recorder.note("media", msg_id, "served", **told)
        said = self._said(msg_id)
        usual = SILK if said is not None and said.message_type == VOICE else PNG
        of_person = usual if said is None else self.kept_of.get(said.person, usual)
        data = self.kept.get(msg_id, of_person)
        return web.Response(
            body=data, content_type=picture_type(data) or "application/octet-stream"
        )
