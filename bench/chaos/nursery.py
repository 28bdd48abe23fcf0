"""
Processes of the bridge that are forked from one which has imported the libraries already.

Starting one takes a third of the time. The bridge's own modules are imported by each process for
itself, after a defect was planted; a process is as real as any: it can be killed, frozen, stopped.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.chaos.planted import main

#: Its children share it with their own children.
FORKS = multiprocessing.get_context("forkserver")
LIBRARIES = "bench.chaos.libraries"
FORKS.set_forkserver_preload([LIBRARIES])
ROOT = str(Path(__file__).resolve().parents[2])


class Fork:
    """One process; as much of ``subprocess.Popen`` as the fleet needs."""

    def __init__(
        self, arguments: Sequence[str], *, folder: Path, environment: Mapping[str, str], log: Path
    ) -> None:
        """
        Args:
            arguments: those of ``bench.chaos.planted``.
        """
        self._arguments = tuple(arguments)
        self._process = FORKS.Process(
            target=_run,
            args=(self._arguments, str(folder), dict(environment), str(log)),
            daemon=True,
        )
        self._process.start()
        self.pid = self._process.pid or 0

    def poll(self) -> int | None:
        """Its exit code; None: it lives."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """
        Wait for its end; its exit code.

        Raises:
            subprocess.TimeoutExpired: it lives still.
        """
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired(self._arguments, timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        """Unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9."""
        self.send_signal(signal.SIGKILL)


def _run(arguments: Sequence[str], folder: str, environment: Mapping[str, str], log: str) -> None:
    """In the new process: nothing is left of the one it was forked from but imported libraries."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, sys.stdout.fileno())
    os.dup2(output, sys.stderr.fileno())
    os.close(output)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path.insert(0, ROOT)
    main(arguments)
