"""What members sent and the gateway keeps: the calls that tell where it is, and the place itself."""

from collections import deque
from collections.abc import Iterable
from typing import Protocol

from aiohttp import web

from simulators.ecloud_envelope import Body, Done, Endpoint, Refused, logged_in
from simulators.ecloud_speech import Said
from simulators.ecloud_world import Account, World
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
#: Sizes of a picture.
USUAL, LARGE = 0, 1
#: How far the fetching of a film is.
RUNNING, READY = 0, 1
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
        #: By number: films that were asked for, and those of them that somebody has looked for.
        self._films: dict[str, Said] = {}
        self._ready: set[str] = set()
        self._world = world
        self._faults = faults
        self._history = history
        self._server = server
        self._recorder = recorder

    def table(self) -> dict[str, Endpoint]:
        """Path to endpoint."""
        return {
            "/getMsgImg": self.picture,
            "/getMsgFile": self.file,
            "/getMsgVoice": self.voice,
            "/getMsgEmoji": self.sticker,
            "/asynGetMsgVideo": self.film,
            "/getMsgVideoRes": self.film_result,
        }

    def keep_picture(self, msg_id: int, data: bytes) -> None:
        """Have what a page sent; of such pictures the newest are kept."""
        while len(self._pictures) >= MOST_KEPT:
            self.kept.pop(self._pictures.popleft(), None)
        self.kept[str(msg_id)] = data
        self._pictures.append(str(msg_id))

    async def picture(self, body: Body) -> Done:
        """The usual size; the large one is often missing."""
        size = body.get("type") or USUAL
        if size not in (USUAL, LARGE):
            raise Refused("系统失败,请重试")
        said = self._found(body, "80002")
        if size == LARGE and self._faults.strike("no_large_picture", "/getMsgImg"):
            raise Refused("系统失败,请重试")
        return self._where(said, "/getMsgImg")

    async def file(self, body: Body) -> Done:
        """Not before it is all there."""
        return self._where(self._found(body, "80009"), "/getMsgFile")

    async def sticker(self, body: Body) -> Done:
        """A GIF, at the real gateway."""
        return self._where(self._found(body, "80006"), "/getMsgEmoji")

    async def voice(self, body: Body) -> Done:
        """As silk; by what the callback says beside its XML."""
        said = self._said(logged_in(self._world, body), body["msgId"])
        told = {name: said.extra.get(name) for name in ("length", "bufId")}
        told["fromUser"] = said.person
        if any(body[name] != value for name, value in told.items()):
            raise Refused("系统失败,请重试")
        return self._where(said, "/getMsgVoice")

    async def film(self, body: Body) -> Done:
        """Only a number under which the film can be asked for later."""
        said = self._found(body, "80003")
        self._films.setdefault(str(said.new_msg_id), said)
        return Done(data={"id": str(said.new_msg_id)})

    async def film_result(self, body: Body) -> Done:
        """Under way at the first look, there at the second."""
        number = body["id"]
        said = self._films.get(number)
        if said is None:
            raise Refused("系统失败,请重试")
        is_late = number not in self._ready or self._faults.strike("media_late", "/getMsgVideoRes")
        self._ready.add(number)
        url, state = (None, RUNNING) if is_late else (self._url(said), READY)
        return Done(data={"id": number, "url": url, "type": state, "des": ""})

    def _found(self, body: Body, message_type: str) -> Said:
        """The message with this msgId and content; the sender may stand before it."""
        said = self._said(logged_in(self._world, body), body["msgId"])
        contents = (said.text, f"{said.person}:\n{said.text}")
        if said.message_type != message_type or body["content"] not in contents:
            raise Refused("系统失败,请重试")
        return said

    def _said(self, account: Account, msg_id: int) -> Said:
        """What this account got under this number, in a group in which it is."""
        number = self._world.first_msg_id(account, msg_id)
        for said in self._history:
            if said.msg_id == number and self._hears(account, said):
                return said
        raise Refused("系统失败,请重试")

    def _hears(self, account: Account, said: Said) -> bool:
        group = self._world.groups.get(said.group)
        return group is not None and account.wc_id in group.members

    def _where(self, said: Said, path: str) -> Done:
        if self._faults.strike("media_late", path):
            raise Refused("系统失败,请重试")
        return Done(data={"url": self._url(said)})

    def _url(self, said: Said) -> str:
        return self.place or f"{self._server.url}{PLACE}{said.msg_id}"

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """GET of the place; whoever knows it may have it."""
        msg_id = request.match_info["id"]
        told = {name: request.headers.get(name, "") for name in ("Authorization", "Cookie")}
        self._recorder.note("media", msg_id, "served", **told)
        said = next((one for one in self._history if str(one.msg_id) == msg_id), None)
        usual = SILK if said is not None and said.message_type == VOICE else PNG
        of_person = usual if said is None else self.kept_of.get(said.person, usual)
        data = self.kept.get(msg_id, of_person)
        return web.Response(
            body=data, content_type=picture_type(data) or "application/octet-stream"
        )
