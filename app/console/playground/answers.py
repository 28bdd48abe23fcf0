"""The JSON that the playground's paths answer with."""

from typing import Any

from fastapi.responses import JSONResponse

FORBIDDEN = 403
NO_STORE = {"Cache-Control": "no-store"}


def found(body: dict[str, Any]) -> JSONResponse:
    """What was asked for."""
    return JSONResponse(body, headers=NO_STORE)


def problem(status: int, error: str, detail: str) -> JSONResponse:
    """A word for programs and a sentence for people."""
    return JSONResponse({"error": error, "detail": detail}, status_code=status, headers=NO_STORE)
