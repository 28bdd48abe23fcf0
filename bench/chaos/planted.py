"""
Runs a program with a planted defect, or with waits made short, both by patching from outside.

``python -m bench.chaos.planted NAME [--hasten=module:CONSTANT=SECONDS …] main.py …``; the name
``none`` plants nothing. A patch that does not fit any more ends the process with exit code 78.
"""

import importlib
import runpy
import sys
from collections.abc import Sequence

from bench.chaos.plants import NONE, PLANTS, DoesNotFit

DOES_NOT_FIT = 78
_HASTEN = "--hasten="


def hasten(order: str) -> None:
    """
    Change one wait or bound of the product: ``app.workers.undecided:ECHO_SECONDS=2``.

    A constant that is not there any more is only told: the run takes longer, nothing else.
    """
    path, _, value = order.partition("=")
    module_name, _, name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError:
        module = None
    known = getattr(module, name, None)
    if isinstance(known, float | int):
        setattr(module, name, int(value) if value.isdecimal() else float(value))
    else:
        sys.stderr.write(f"planted: no wait {path}, it stays as it is\n")


def main(argv: Sequence[str]) -> None:
    """Patch, then run the rest of the command line as if it had been called itself."""
    name, *rest = argv
    while rest and rest[0].startswith(_HASTEN):
        hasten(rest.pop(0).removeprefix(_HASTEN))
    try:
        if name != NONE:
            PLANTS[name].plant()
    except DoesNotFit as error:
        sys.stderr.write(f"planted: {name} does not fit any more: {error}\n")
        sys.exit(DOES_NOT_FIT)
    sys.argv = rest
    runpy.run_path(rest[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
