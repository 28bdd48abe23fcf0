"""Whether spans are wanted, by the variables of OpenTelemetry; and what takes them then."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from loguru import logger

from app.opening import StartRefused
from app.services.metrics import Metrics
from app.services.tracing import NoTracer, Tracer
from app.utils.loops import first_of
from app.version import VERSION

if TYPE_CHECKING:
    from app.telemetry.otlp import OtlpTracer

BOTH_KINDS, TRACES_ONLY = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
SPOKEN = "http/protobuf"
#: What a collector that is away, or slow, may cost a stop, in seconds.
CLOSE_SECONDS = 3.0


def wanted_by(environ: Mapping[str, str]) -> str:
    """The variable that asks for spans; empty: none does, or another one forbids it (pure)."""
    is_off = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if is_off or environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none":
        return ""
    names = (TRACES_ONLY, BOTH_KINDS)
    return next((name for name in names if environ.get(name, "").strip()), "")


def refuse_unfit(environ: Mapping[str, str], name: str) -> None:
    """
    Say what cannot work before anything is sent there.

    Raises:
        StartRefused: the address is none, or another protocol is asked for.
    """
    address = urlsplit(environ[name].strip())
    if address.scheme not in ("http", "https") or not address.netloc:
        raise StartRefused(f"环境变量 {name} 应为 http:// 或 https:// 开头的地址。")
    protocol = next((environ[one].strip() for one in PROTOCOLS if environ.get(one, "").strip()), "")
    if protocol not in ("", SPOKEN):
        raise StartRefused(
            f"追踪只会用 {SPOKEN} 发送,而环境变量要求 {protocol}。"
            "请去掉 OTEL_EXPORTER_OTLP_PROTOCOL,并把地址改为收集器的 HTTP 端口(一般是 4318)。"
        )


def load_tracer(name: str) -> "type[OtlpTracer]":
    """
    The tracer that needs the SDK, which is loaded by this.

    Args:
        name: the variable that asks for spans, for the sentence.

    Raises:
        StartRefused: it is not installed.
    """
    try:
        from app.telemetry.otlp import OtlpTracer  # noqa: PLC0415 - loads the SDK
    except ImportError as error:
        raise StartRefused(
            f"环境变量 {name} 要求追踪,但没有安装 OpenTelemetry({error.name})。"
            "请运行:pip install -r requirements-otel.txt;不要追踪就去掉这个变量。"
        ) from error
    return OtlpTracer


async def open_tracer(
    stack: AsyncExitStack, environ: Mapping[str, str], *, role: str, metrics: Metrics
) -> Tracer:
    """
    What takes the spans of this process; the last of them go out when the stack is closed.

    Args:
        environ: The process environment, which the SDK reads by itself, too.

    Raises:
        StartRefused: spans are wanted and cannot be told.
    """
    name = wanted_by(environ)
    if not name:
        return NoTracer()
    refuse_unfit(environ, name)
    make = load_tracer(name)
    try:
        tracer = make(role=role, version=VERSION, metrics=metrics)
    except (ValueError, OSError) as error:
        raise StartRefused(f"OTEL_ 开头的环境变量不能用({error})。") from error
    stack.push_async_callback(_close, tracer.close)
    logger.info("trace.on", by=name)
    return tracer


async def _close(close: Callable[[], None]) -> None:
    """Have the last spans sent, by a thread that the process need not wait for."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def work() -> None:
        close()
        with suppress(RuntimeError):  # the loop is gone: nobody waits any more
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=work, name="last-spans", daemon=True).start()
    await first_of(done, seconds=CLOSE_SECONDS)
