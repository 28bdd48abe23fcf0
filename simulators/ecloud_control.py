"""The gateway simulator's own paths under `/_sim/`: speak, watch, log out, post anything."""

from typing import TYPE_CHECKING, Any

from aiohttp import web

from simulators.ecloud_courier import Courier
from simulators.ecloud_media import MOST_BYTES, picture_type
from simulators.ecloud_speech import NobodyThere, Speech
from simulators.serving import json_response, refusal, stream_events

if TYPE_CHECKING:
    from simulators.ecloud import EcloudSimulator


class ControlPaths:
    """The handlers, for a playground in a browser and for other programs."""

    def __init__(
        self,
        speech: Speech,
        courier: Courier,
        gateway: "EcloudSimulator",
        ping_seconds: float,
    ) -> None:
        self._speech = speech
        self._courier = courier
        self._gateway = gateway
        self._ping_seconds = ping_seconds

    def add_to(self, app: web.Application) -> None:
        """Put the paths into the router."""
        app.router.add_get("/_sim/world", self._world)
        app.router.add_get("/_sim/events", self._events)
        app.router.add_get("/_sim/gaps", self._gaps)
        app.router.add_post("/_sim/say", self._say)
        app.router.add_post("/_sim/act", self._act)
        app.router.add_post("/_sim/picture", self._picture)
        app.router.add_post("/_sim/callback", self._callback)
        app.router.add_post("/_sim/rotate", self._rotate)
        app.router.add_post("/_sim/account", self._account)

    async def _world(self, _request: web.Request) -> web.Response:
        world = self._gateway.world
        groups = [
            {
                "groupId": group.group_id,
                "name": group.name,
                "owner": group.owner,
                "members": [
                    {
                        "wcId": wc_id,
                        "nickName": world.nick_name(wc_id),
                        "displayName": shown,
                        "shownName": world.shown_name(group, wc_id),
                        "bot": wc_id in world.accounts,
                        "friend": wc_id not in world.people or world.people[wc_id].friend,
                    }
                    for wc_id, shown in group.members.items()
                ],
            }
            for group in world.groups.values()
        ]
        accounts = [
            {
                "wcId": account.wc_id,
                "nickName": account.nick_name,
                "wId": account.w_id,
                "online": account.online,
            }
            for account in world.accounts.values()
        ]
        return json_response(
            {
                "developer": world.developer,
                "callbackUrl": self._courier.url,
                "accounts": accounts,
                "groups": groups,
            }
        )

    async def _events(self, request: web.Request) -> web.StreamResponse:
        return await stream_events(
            request,
            self._gateway.events,
            closing=self._gateway.closing,
            ping_seconds=self._ping_seconds,
        )

    async def _gaps(self, request: web.Request) -> web.Response:
        """By endpoint that was called; ``?wcId=`` counts the calls of one account alone."""
        wc_id = request.query.get("wcId", "")
        paths = {record.name for record in self._gateway.recorder.of("request")}
        return json_response(
            {path: self._gateway.gaps(path, wc_id).as_json() for path in sorted(paths)}
        )

    async def _say(self, request: web.Request) -> web.Response:
        order = await _order(request)
        if order is None:
            return refusal("BadJson", "an object is expected")
        mentions = order.get("mentions") or []
        text = order.get("text")
        if not isinstance(text, str) or not isinstance(mentions, list):
            return refusal("BadOrder", "text is a string, mentions a list of wcIds")
        quote = str(order.get("quote") or "")
        if quote and not quote.isdecimal():
            return refusal("BadOrder", "quote is the newMsgId of a message")
        try:
            said = self._speech.say(
                str(order.get("group")),
                str(order.get("person")),
                text,
                mention_bot=order.get("mention_bot") is True,
                mentions=[str(one) for one in mentions],
                quote=int(quote) if quote else None,
            )
        except NobodyThere as error:
            return refusal("NobodyThere", str(error), 404)
        return json_response(
            {"msgId": str(said.msg_id), "newMsgId": str(said.new_msg_id), "text": said.text}
        )

    async def _act(self, request: web.Request) -> web.Response:
        """A person does something: ``{"act", "group", "person", "how": {…}}``."""
        order = await _order(request)
        how = (order or {}).get("how") or {}
        if order is None or not isinstance(how, dict):
            return refusal("BadOrder", "an object is expected, how is one, too")
        try:
            said = self._gateway.acts.do(
                str(order.get("act")),
                str(order.get("group")),
                str(order.get("person")),
                how,
                self._gateway.sent,
            )
        except NobodyThere as error:
            return refusal("NobodyThere", str(error), 404)
        except (KeyError, TypeError, ValueError) as error:
            return refusal("BadOrder", f"{type(error).__name__}: {error}")
        if said is None:
            return json_response({})
        return json_response({"msgId": str(said.msg_id), "newMsgId": str(said.new_msg_id)})

    async def _picture(self, request: web.Request) -> web.Response:
        """A person sends a picture: its bytes; who and where stand in the query."""
        if (request.content_length or 0) > MOST_BYTES:
            return refusal("TooLarge", f"more than {MOST_BYTES} bytes", 413)
        data = await request.read()
        if len(data) > MOST_BYTES or picture_type(data) is None:
            return refusal("BadPicture", f"a PNG, JPEG or GIF of at most {MOST_BYTES} bytes")
        query = request.query
        try:
            said = self._gateway.send_picture(query.get("group", ""), query.get("person", ""), data)
        except NobodyThere as error:
            return refusal("NobodyThere", str(error), 404)
        return json_response({"msgId": str(said.msg_id), "newMsgId": str(said.new_msg_id)})

    async def _callback(self, request: web.Request) -> web.Response:
        delivery = await self._courier.post_now(
            await request.read(), content_type=request.headers.get("Content-Type", "")
        )
        return json_response(
            {"status": delivery.status, "answer": delivery.answer, "seconds": delivery.seconds}
        )

    async def _rotate(self, request: web.Request) -> web.Response:
        order = await _order(request)
        if order is None:
            return refusal("BadJson", "an object is expected")
        replay = order.get("replay") or 0
        if not isinstance(replay, int):
            return refusal("BadOrder", "replay is a number")
        try:
            w_id = self._gateway.rotate(order.get("wcId"), replay=replay)
        except NobodyThere as error:
            return refusal("NobodyThere", str(error), 404)
        return json_response({"wId": w_id})

    async def _account(self, request: web.Request) -> web.Response:
        order = await _order(request)
        if order is None or not isinstance(order.get("online"), bool):
            return refusal("BadOrder", "online is true or false")
        try:
            self._gateway.set_online(order.get("wcId"), online=order["online"])
        except NobodyThere as error:
            return refusal("NobodyThere", str(error), 404)
        return json_response({"online": order["online"]})


async def _order(request: web.Request) -> dict[str, Any] | None:
    """The body as an object; an empty body is an empty object."""
    if not request.can_read_body:
        return {}
    try:
        order = await request.json()
    except ValueError:
        return None
    return order if isinstance(order, dict) else None
