"""Health for people and probes, and metrics for Prometheus."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from app.services.health import Dependency, DependencyState, HealthReport

_JSON: dict[str, Any] = {"content": {"application/json": {}}}


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthView:
    """What the health routes show; built by the runtime."""

    report: HealthReport
    #: Whether this process can take callbacks durably and is not stopping; and if not, why.
    readiness: Callable[[], Awaitable[str]]
    #: Counts for the report, e.g. waiting; what SQL would have to tell is left out while it is away.
    figures: Callable[[], Awaitable[dict[str, Any]]]
    #: How many of our accounts are in which state; ids are nobody's business here.
    accounts: Callable[[], dict[str, Any]]
    #: Peers that are left alone for now; none while Redis is away.
    breakers: Callable[[], Awaitable[list[dict[str, Any]]]]
    #: How many questions each app is asked at once; none while Redis is away.
    limits: Callable[[], Awaitable[list[dict[str, Any]]]]
    #: What operators have paused.
    pauses: Callable[[], list[dict[str, Any]]]
    #: What the sender of each account does now, or what holds it back.
    sending: Callable[[], Awaitable[list[dict[str, Any]]]]
    #: Facts about this process.
    about: Callable[[], dict[str, Any]]
    exposition: Callable[[], Awaitable[bytes]]


def health_router(view: HealthView) -> APIRouter:
    """``/api/v1/health``, ``/healthz``, ``/readyz``, ``/metrics``."""
    router = APIRouter(tags=["health"])

    @router.get(
        "/api/v1/health",
        summary="健康检查:每个依赖的状态、延迟和原因",
        description="`status`:`up` 全部可用;`incomplete` 有的还没配置;`degraded` 可用但设置或状况有隐患,或操作员暂停了收取或发送(`pauses` 说哪一样、从何时起);"
        "`down` 有的不可用。"
        "`dependencies` 逐项列出数据库、Redis、Dify、E云管家:`warnings` 是隐患和改法,`details` 是版本等;"
        "`figures` 是等待数、死信等。"
        "`breakers` 是暂停提问的对方:从何时起、原因、暂停了多少用户;"
        "`limits` 是各应用的并发上限(所有副本合计):在用、等待、最近因何降低。"
        "`sending` 是各微信号的发送在做什么,或为什么现在不发。",
        response_description="已配置的依赖都可用",
        responses={503: {"description": "有已配置的依赖不可用", **_JSON}},
    )
    async def health() -> JSONResponse:
        found, figures, breakers, limits, sending = await asyncio.gather(
            view.report.look(), view.figures(), view.breakers(), view.limits(), view.sending()
        )
        pauses = view.pauses()
        body = {
            "status": _overall(found, is_paused=bool(pauses)),
            **view.about(),
            "dependencies": {name: _shown(dependency) for name, dependency in found.items()},
            "figures": figures,
            "accounts": view.accounts(),
            "breakers": breakers,
            "limits": limits,
            "sending": sending,
            "pauses": pauses,
        }
        is_down = any(one.state is DependencyState.DOWN for one in found.values())
        return JSONResponse(body, status_code=503 if is_down else 200)

    @router.get("/healthz", summary="进程存活", response_description="进程活着")
    async def healthz() -> JSONResponse:
        return JSONResponse({"status": "alive"})

    @router.get(
        "/readyz",
        summary="可以接收回调",
        response_description="能可靠地收消息,且没有在停机",
        responses={503: {"description": "正在停机,或数据库和本地磁盘都写不进", **_JSON}},
    )
    async def readyz() -> JSONResponse:
        reason = await view.readiness()
        if reason:
            return JSONResponse({"status": "not_ready", "reason": reason}, status_code=503)
        return JSONResponse({"status": "ready"})

    @router.get(
        "/metrics",
        summary="Prometheus 指标",
        response_class=Response,
        response_description="文本格式;标签里没有人和群",
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        return Response(
            await view.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8"
        )

    return router


def _overall(found: dict[str, Dependency], *, is_paused: bool) -> str:
    states = {dependency.state for dependency in found.values()}
    if DependencyState.DOWN in states:
        return "down"
    if DependencyState.NOT_CONFIGURED in states:
        return "incomplete"
    if DependencyState.DEGRADED in states or is_paused:
        return "degraded"
    return "slow" if DependencyState.SLOW in states else "up"


def _shown(dependency: Dependency) -> dict[str, Any]:
    shown: dict[str, Any] = {"state": dependency.state, "latency_ms": dependency.latency_ms}
    if dependency.reason:
        shown["reason"] = dependency.reason
    if dependency.warnings:
        shown["warnings"] = list(dependency.warnings)
    if dependency.details:
        shown["details"] = dict(dependency.details)
    return shown
