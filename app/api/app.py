"""The HTTP application: which router sits where, and what an unforeseen error shows (nothing)."""

from collections.abc import Mapping, Sequence

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse
from loguru import logger
from starlette.types import ASGIApp

from app.api.docs import docs_router
from app.api.middleware import SecurityHeaders


def create_app(
    *, version: str, routers: Sequence[APIRouter], mounts: Mapping[str, ASGIApp] | None = None
) -> FastAPI:
    """
    An application with these routers.

    Args:
        mounts: whole applications by the path under which each sits.
    """
    app = FastAPI(
        title="E云管家-DifyAI对接服务",
        version=version,
        description="接收E云管家的群聊消息,向 Dify 提问,把回答发回群里。完整的说明见 README.md。",
        # FastAPI's own pages load their scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        # Nobody collects it yet; spans cost a tenth of a callback.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.add_middleware(SecurityHeaders)
    for router in (docs_router(), *routers):
        app.include_router(router)
    for path, mounted in (mounts or {}).items():
        app.mount(path, mounted)

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> JSONResponse:
        # The path's last part may be the callback's token: the route's pattern is named instead.
        route = getattr(request.scope.get("route"), "path", "?")
        logger.opt(exception=error).error("http.unforeseen", route=route)
        return JSONResponse({"error": "internal_error"}, status_code=500)

    return app
