"""
Imports what the bridge needs of others, and nothing of the bridge: preloaded by the nursery.

One that is missing here only costs each process the time of importing it itself.
"""

import contextlib
import gc
import importlib

LIBRARIES = (
    "aiohttp.web",
    "aiosqlite",
    "alembic.command",
    "asyncmy",
    "asyncio",
    "cryptography.hazmat.primitives.asymmetric.padding",
    "fakeredis",
    "fastapi.responses",
    "hiredis",
    "httptools",
    "jinja2",
    "loguru",
    "lupa",
    "orjson",
    "prometheus_client",
    "pydantic_settings",
    "pymysql",
    "redis.asyncio",
    "sqlalchemy.dialects.mysql",
    "sqlalchemy.dialects.sqlite",
    "sqlalchemy.ext.asyncio",
    "sqlalchemy.orm",
    "uvicorn.protocols.http.httptools_impl",
    "uvloop",
)

for name in LIBRARIES:
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
gc.freeze()
