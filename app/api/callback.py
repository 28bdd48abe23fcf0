"""``POST /api/v1/callback``: what has to be answered is durable before the gateway hears 200."""

import asyncio
import hmac
import time
from typing import Any

from fastapi import APIRouter, Response
from loguru import logger
from starlette.requests import ClientDisconnect, Request

from app.api.body import read_body
from app.api.callers import Callers
from app.models.flow import Accepted, Duplicate, Left, Receipt, Refused, TurnedAway, Unrecorded
from app.services.errors import StoreUnavailable
from app.services.metrics import Metrics
from app.services.reception import BUDGET, Reception
from app.services.tracing import Span, Step, Tracer

OK = b'{"code":"1000","message":"success","data":null}'
TOO_LARGE = b'{"code":"1001","message":"body too large","data":null}'
UNAVAILABLE = b'{"code":"1001","message":"temporarily unavailable","data":null}'
NOT_FOUND = b'{"detail":"Not Found"}'
JSON = "application/json"
#: Longest time for a body to arrive: a part of the budget, so that a store can still take it.
BODY_SECONDS = 3.0


#: What the page at /docs shows; a callback of a group message as the gateway posts it.
EXAMPLE = {
    "account": "17200000000",
    "messageType": "80001",
    "wcId": "wxid_phyyedw9xap22",
    "data": {
        "content": "消息内容",
        "fromGroup": "25411981800@chatroom",
        "fromUser": "wxid_ynu1tgjz156j22",
        "memberCount": 8,
        "msgId": 1685074592,
        "newMsgId": 1497474118261484795,
        "self": False,
        "timestamp": 1640772092,
        "toUser": "wxid_phyyedw9xap22",
        "wId": "12491ae9-62aa-4f7a-83e6-9db4e9f28e3c",
    },
}
_NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: {"description": "令牌、来源地址或消息的时间不对(后两项设置了才检查)"}
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": f"已持久保存,或无需处理:`{OK.decode()}`", "content": {JSON: {}}},
    408: {"description": "请求体 5 秒内没有到齐"},
    413: {"description": f"超过 1 MiB:`{TOO_LARGE.decode()}`", "content": {JSON: {}}},
    503: {
        "description": f"数据库和本地磁盘都写不进:`{UNAVAILABLE.decode()}`",
        "content": {JSON: {}},
    },
}


def is_known_token(token: str, tokens: tuple[str, ...]) -> bool:
    """Whether a token is one of ours; takes the same time whichever it is (pure)."""
    given = token.encode()
    # No short cut: all are compared, so that time tells nothing.
    return sum(hmac.compare_digest(given, known.encode()) for known in tokens) > 0


def callback_router(
    reception: Reception,
    metrics: Metrics,
    tracer: Tracer,
    tokens: tuple[str, ...],
    callers: Callers,
) -> APIRouter:
    """
    The route at the bare path, or, when tokens are set, only behind a token.

    Whoever must not post hears the same as one who does not know the path.
    """
    router = APIRouter(prefix="/api/v1", tags=["callback"])

    def turned_away(verdict: str) -> Response:
        metrics.callbacks.labels(verdict=verdict).inc()
        return Response(NOT_FOUND, status_code=404, media_type=JSON)

    async def take(request: Request) -> Response:
        peer = request.client.host if request.client else None
        if not callers.admits(peer, request.headers.getlist("x-forwarded-for")):
            return turned_away("wrong_source")
        started = time.perf_counter()
        response = await _take(request, reception, tracer)
        metrics.callback_seconds.observe(time.perf_counter() - started)
        return response

    async def take_with_token(request: Request) -> Response:
        if not is_known_token(request.path_params["token"], tokens):
            return turned_away("wrong_token")
        return await take(request)

    path, handler = ("/callback/{token}", take_with_token) if tokens else ("/callback", take)
    # No redirect for a slash too many: a gateway would not follow it.
    router.add_api_route(f"{path}/", handler, methods=["POST"], include_in_schema=False)
    router.add_api_route(
        path,
        handler,
        methods=["POST"],
        summary="接收E云管家的消息回调",
        description="先持久保存,再回应;重复投递的同一条消息只处理一次。",
        response_class=Response,
        openapi_extra=_described(has_token=bool(tokens)),
        responses=_RESPONSES | _NOT_FOUND,
    )
    return router


def _described(*, has_token: bool) -> dict[str, Any]:
    """What FastAPI cannot see, since the body is read as bytes and the token out of the path."""
    token = {
        "name": "token",
        "in": "path",
        "required": True,
        "description": "回调令牌(ecloud.callback_token)",
        "schema": {"type": "string"},
    }
    body = {
        "description": "E云管家的回调信封;任何 Content-Type 都接受。",
        "required": True,
        "content": {JSON: {"schema": {"type": "object"}, "example": EXAMPLE}},
    }
    return {"requestBody": body, **({"parameters": [token]} if has_token else {})}


async def _take(request: Request, reception: Reception, tracer: Tracer) -> Response:
    began = time.monotonic()
    until = began + BUDGET
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await read_body(request)
    except ClientDisconnect:
        logger.info("callback.disconnected")
        return Response(status_code=400)
    except TimeoutError:
        logger.info("callback.too_slow")
        return Response(status_code=408, headers={"Connection": "close"})
    left = until - time.monotonic()
    try:
        if body.is_too_large:
            await reception.take_too_large(body.data, seconds=left)
            return Response(TOO_LARGE, status_code=413, media_type=JSON)
        receipt = await reception.take(body.data, seconds=left)
    except StoreUnavailable as error:
        logger.error("callback.unavailable", error=error)
        return Response(UNAVAILABLE, status_code=503, media_type=JSON)
    if isinstance(receipt, TurnedAway):
        return Response(NOT_FOUND, status_code=404, media_type=JSON)
    _tell(tracer, receipt, seconds=time.monotonic() - began)
    return Response(OK, media_type=JSON)


def _tell(tracer: Tracer, receipt: Receipt | Unrecorded, *, seconds: float) -> None:
    """What asks something begins a trace, or belongs to one; what is ignored is not worth one."""
    if not isinstance(receipt, Accepted | Duplicate | Left | Refused):
        return
    ended_at = time.time()
    tracer.record(
        Span(
            step=Step.CALLBACK,
            message_id=receipt.message_id,
            started_at=ended_at - seconds,
            ended_at=ended_at,
            facts={"receipt": type(receipt).__name__.lower()},
            is_first=not isinstance(receipt, Duplicate),
        )
    )
