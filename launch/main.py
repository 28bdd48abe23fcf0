"""The launcher's command line."""

import argparse
import io
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from launch import playground, testing
from launch.environment import Environment
from launch.playground import Interrupted
from launch.progress import Problem, Progress, say

ROOT = Path(__file__).resolve().parent.parent
STEPS_TO_TEST = 4
STEPS_TO_PLAY = 5


def main(arguments: Sequence[str]) -> int:
    """Do what *arguments* ask; gives the exit code: 0, 1 for a problem, 130 when interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="replace")
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _interrupt)
    try:
        if arguments and arguments[0] == "test":
            return testing.run(
                root=ROOT, arguments=arguments[1:], progress=Progress(steps=STEPS_TO_TEST)
            )
        _play(_parser().parse_args(arguments))
    except Problem as problem:
        say(f"\n✗ {problem}")
        return 1
    except OSError as error:
        say(f"\n✗ 系统错误:{error}")
        return 1
    except Interrupted:
        say("\n已取消。")
        return 130
    return 0


def _play(options: argparse.Namespace) -> None:
    progress = Progress(steps=STEPS_TO_PLAY)
    environment = Environment(root=ROOT, progress=progress)
    environment.prepare("requirements.txt")
    playground.run(
        root=ROOT,
        python=environment.python,
        host=options.host,
        port=options.port,
        browser=not options.no_browser,
        progress=progress,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="start.py",
        description="启动演练场:在本机模拟的微信群里,体验机器人的完整回复过程。不需要账号和服务器。",
        epilog="运行全部测试:python3 start.py test [pytest 的参数]",
    )
    parser.add_argument("--no-browser", action="store_true", help="不自动打开浏览器")
    parser.add_argument("--port", type=_port, help="演练场的端口(默认 8765,被占用时自动换一个)")
    parser.add_argument(
        "--host", default="127.0.0.1", help="监听地址(默认 127.0.0.1,只有本机能访问)"
    )
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:  # noqa: PLR2004 - the ports there are
        raise argparse.ArgumentTypeError(f"端口应是 1 到 65535 之间的整数,而不是 {text!r}")
    return int(text)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise Interrupted
