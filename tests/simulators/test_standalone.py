"""Both simulators as programs of their own: one line when ready, a JSONL log, a clean end."""

import asyncio
import json
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

ROOT = Path(__file__).parents[2]
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")


@asynccontextmanager
async def program(
    name: str, *arguments: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """The running program and the address it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"simulators.{name}",
        *arguments,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            line = (await process.stdout.readline()).decode()
        found = ADDRESS.search(line)
        assert found is not None, line
        yield process, found[0]
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_dify_alone_answers_and_ends_on_sigterm(tmp_path: Path) -> None:
    """It answers in the chosen release, logs each request as a line, and ends with code 0."""
    log = tmp_path / "带 空格" / "dify.jsonl"
    options = ("--port", "0", "--release", "0.15.3", "--kind", "agent", "--api-key", "app-x")
    async with (
        program("dify", *options, "--pace", "0", "--log", str(log)) as (process, url),
        aiohttp.ClientSession(headers={"Authorization": "Bearer app-x"}) as http,
    ):
        body = {"inputs": {}, "query": "问", "user": "u", "response_mode": "streaming"}
        async with http.post(f"{url}/v1/chat-messages", json=body) as response:
            text = await response.text()
            release = response.headers["X-Version"]
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            code = await process.wait()

    assert (code, release) == (0, "0.15.3")
    assert '"event": "agent_message"' in text
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert [(line["query"], line["outcome"]) for line in lines] == [("问", "answered")]


async def test_ecloud_alone_ends_on_sigterm_with_an_open_event_stream() -> None:
    """An open event stream does not hold the end."""
    async with (
        program("ecloud", "--port", "0", "--authorization", "secret") as (process, url),
        aiohttp.ClientSession() as http,
        http.get(f"{url}/_sim/events") as stream,
    ):
        async with http.get(f"{url}/_sim/about") as response:
            about = await response.json()
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            code = await process.wait()
            await stream.read()

    assert (code, about["simulator"], about["url"]) == (0, "ecloud", url)


@pytest.mark.parametrize("name", ["dify", "ecloud"])
async def test_taken_port_ends_with_a_sentence(name: str) -> None:
    """A port in use is told in a line on stderr, not by a traceback; the code is 1."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            f"simulators.{name}",
            "--port",
            str(taken.getsockname()[1]),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            _, complaint = await process.communicate()

    assert process.returncode == 1
    assert complaint.decode().startswith("无法启动：")
    assert b"Traceback" not in complaint
