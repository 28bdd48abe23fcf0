"""Progress lines on the terminal, and the error that tells a person what to do."""

import sys
import time

_QUIET_SECONDS = 5.0


class Problem(Exception):
    """The start cannot go on; the message says why and what to do, in Chinese."""


class Progress:
    """Numbered steps: ``[2/5] 安装依赖 …``, each with a line that moves while it is under way."""

    def __init__(self, *, steps: int) -> None:
        self._steps = steps
        self._step = 0
        self._begun = 0.0
        self._spoken = 0.0
        self._terminal = sys.stdout.isatty()
        self._moving = False

    def step(self, title: str) -> None:
        """Begin the next step."""
        self._step += 1
        self._begun = self._spoken = time.monotonic()
        say(f"[{self._step}/{self._steps}] {title} …")

    def moving(self, text: str) -> None:
        """Show what is going on: rewritten in place on a terminal, else once in a few seconds."""
        if self._terminal:
            sys.stdout.write(f"\r\x1b[K      {text}({self.seconds:.0f} 秒)")
            sys.stdout.flush()
            self._moving = True
        elif time.monotonic() - self._spoken >= _QUIET_SECONDS:
            self._spoken = time.monotonic()
            say(f"      {text}({self.seconds:.0f} 秒)")

    def note(self, text: str) -> None:
        """Say something that stays on the screen."""
        self._clear()
        say(f"      {text}")

    def done(self, text: str) -> None:
        """End the step with its outcome and how long it took."""
        self._clear()
        took = f",{self.seconds:.1f} 秒" if self.seconds >= 1 else ""
        say(f"      ✓ {text}{took}")

    @property
    def seconds(self) -> float:
        """How long the step has been going on, in seconds."""
        return time.monotonic() - self._begun

    def _clear(self) -> None:
        if self._moving:
            sys.stdout.write("\r\x1b[K")
            self._moving = False


def say(text: str) -> None:
    """Print a line at once, also when the output is a pipe."""
    print(text, flush=True)
