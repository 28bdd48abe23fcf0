"""Fixtures live in modules of their own under ``tests/fixtures``."""

import os

import pytest
from hypothesis import settings

#: How long an example takes says something about the machine only.
settings.register_profile("bridge", deadline=None)
settings.load_profile("bridge")

pytest_plugins = [
    "tests.fixtures.redis",
    "tests.fixtures.mariadb",
    "tests.fixtures.bridge",
    "tests.fixtures.stores",
    "tests.fixtures.inside",
    "tests.fixtures.console",
    "tests.fixtures.collector",
    "tests.fixtures.logs",
    "tests.fixtures.receivers",
    "tests.fixtures.logins",
    "tests.fixtures.twins",
]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Most tests wait for servers and timers: ``-n auto`` means three times the cores, eight at most."""
    return min(8, 3 * (os.cpu_count() or 1))
