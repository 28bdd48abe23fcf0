"""
Runs one of our programs so that it never outlives the launcher.

``python launch/guard.py main.py …`` or ``python launch/guard.py -m package.module …``. Standard
input is a pipe whose other end the launcher holds: when it ends, for whatever reason, the program
is asked to stop as by SIGTERM, and is ended if it has not done so in time. Works on every system.
"""

import os
import runpy
import signal
import sys
import threading
import time
from pathlib import Path

GRACE_SECONDS = 40.0


def main() -> None:
    """Watch the pipe and become the program."""
    root = Path(__file__).resolve().parent.parent
    sys.path[0] = str(root)
    arguments = sys.argv[1:]
    threading.Thread(target=_watch, args=(sys.stdin.fileno(),), daemon=True).start()
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [str(root / arguments[0]), *arguments[1:]]
        runpy.run_path(sys.argv[0], run_name="__main__")


def _watch(pipe: int) -> None:
    while os.read(pipe, 1024):
        pass
    if os.name == "nt":
        signal.raise_signal(signal.SIGTERM)  # os.kill would end the process at once there
    else:
        os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
