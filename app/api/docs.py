"""
``/docs``: Swagger UI from an installed package, whose files the lock file pins.

The browser asks nobody but this process: the page works without the internet, and its scripts can
talk to nobody else.
"""

from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse, HTMLResponse, Response

PACKAGE = "fastapi_offline"
FILES = ("swagger-ui-bundle.js", "swagger-ui.css")
START = "start.js"
#: Swagger UI writes styles into the page and brings its pictures as data.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
PAGE = f"""<!doctype html>
<html lang="zh-CN">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>接口文档 · E云管家-DifyAI对接服务</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/{START}"></script>
</body>
</html>
"""
#: Only what changes nothing can be tried out: a posted example would be asked of Dify.
SCRIPT = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  validatorUrl: null,
  supportedSubmitMethods: ["get"],
});
"""


def docs_router() -> APIRouter:
    """The page and its three files; addresses are relative, for a proxy that serves a subfolder."""
    router = APIRouter(include_in_schema=False)
    folder = Path(str(files(PACKAGE))) / "static"

    @router.get("/docs")
    async def page() -> Response:
        return HTMLResponse(PAGE, headers=HEADERS)

    @router.get("/docs/{name}")
    async def file(name: str) -> Response:
        if name == START:
            return Response(SCRIPT, media_type="text/javascript", headers=HEADERS)
        if name not in FILES:
            raise HTTPException(404)
        return FileResponse(folder / name, headers=HEADERS)

    return router
