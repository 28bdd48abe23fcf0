"""
Which revisions a database lacks, read without Alembic.

A process that runs has no use for Alembic, which takes 11 MB; it is loaded where something is to be
migrated.
"""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from sqlalchemy import create_engine, inspect, text

from app.utils.db import sync_url

VERSIONS = Path(__file__).resolve().parents[2] / "migrations" / "versions"
_LINKS = re.compile(r"^(down_)?revision = (?:\"(\w+)\"|None)$", re.MULTILINE)


@cache
def known_revisions() -> tuple[str, ...]:
    """All revisions of this program's schema, oldest first."""
    followers = {}
    for path in VERSIONS.glob("*.py"):
        links = {bool(down): name for down, name in _LINKS.findall(path.read_text("utf-8"))}
        followers[links[True]] = links[False]
    chain = [""]
    while (following := followers.get(chain[-1])) is not None:
        chain.append(following)
    return tuple(chain[1:])


def revisions_after(current: str | None, known: Sequence[str]) -> list[str]:
    """
    Those of *known* that a database at *current* lacks, oldest first (pure).

    A revision that is not known is that of a newer program, which an older one can work beside.
    """
    if current is None:
        return list(known)
    return list(known[known.index(current) + 1 :]) if current in known else []


def current_revision(url: str) -> str | None:
    """The revision that the database is at; None: it has no tables of ours yet."""
    engine = create_engine(sync_url(url))
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            found = connection.execute(text("SELECT version_num FROM alembic_version"))
            return found.scalar()
    finally:
        engine.dispose()


def pending_revisions(url: str) -> list[str]:
    """Revisions that the database lacks, oldest first; empty: up to date, or newer."""
    return revisions_after(current_revision(url), known_revisions())
