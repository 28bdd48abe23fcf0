"""
The measurements: ``python -m bench`` lists them, ``python -m bench burst --help`` explains one.

Each is a module of this folder whose docstring says what is measured and whose ``main`` takes the
rest of the command line.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

#: Modules that measure, and the package of fault scenarios; the others are their parts.
MODULES = {
    path.stem: f"bench.{path.stem}"
    for path in Path(__file__).parent.glob("[!_]*.py")
    if "\ndef main(" in path.read_text("utf-8")
} | {"chaos": "bench.chaos.__main__"}


def main(arguments: Sequence[str]) -> int:
    """Run the measurement named first; without a known name say which there are."""
    name, rest = (arguments[0], arguments[1:]) if arguments else ("", ())
    if name in MODULES:
        return import_module(MODULES[name]).main(rest) or 0
    print("python -m bench NAME [OPTION …]\n")
    for one, module in sorted(MODULES.items()):
        summary = (import_module(module).__doc__ or "").strip().splitlines()[0]
        print(f"  {one}  {summary}")
    return 0 if name in ("", "-h", "--help") else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
