# -*- coding: utf-8 -*-
# ruff: noqa: PTH100, PTH110, PTH118, PTH120, UP009, UP010, UP031, UP036
# Every Python from 2.7 on has to be able to read this file: no pathlib, no f-strings.
"""
The bridge on a fresh machine.

``python3 start.py`` opens the playground, ``python3 start.py test`` runs the tests. Standard
library only. An old Python gets as far as the sentence that says which one is needed; everything
else is in the folder launch/.
"""

from __future__ import unicode_literals

import os
import sys

if sys.version_info < (3, 11):
    names = ["python3.%d" % minor for minor in (14, 13, 12, 11)]
    folders = os.environ.get("PATH", "").split(os.pathsep)
    found = [n for n in names if any(os.path.exists(os.path.join(f, n)) for f in folders)]
    lines = ["需要 Python 3.11 或更新的版本,当前是 %s。" % sys.version.split()[0]]
    if found:
        lines.append("这台机器上已有 %s,请运行:%s start.py" % (found[0], found[0]))
    else:
        lines.append("Debian / Ubuntu:sudo apt install python3.11 python3.11-venv")
        lines.append("macOS:brew install python@3.12;Windows:winget install Python.Python.3.12")
    text = "\n".join(lines) + "\n"
    getattr(sys.stderr, "buffer", sys.stderr).write(text.encode("utf-8"))
    sys.exit(1)

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from launch.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
