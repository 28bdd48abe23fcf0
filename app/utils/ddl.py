"""Steps of a migration that may be taken twice: MySQL keeps what one that was cut off has done."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.schema import SchemaItem

from app.utils.database_faults import ForeignTable


def make_table(name: str, *parts: SchemaItem, **options: Any) -> None:
    """
    Make a table, unless it is there already.

    Raises:
        ForeignTable: what is there lacks columns of ours; a later migration may have added some.
    """
    inspector = sa.inspect(op.get_bind())
    if not inspector.has_table(name):
        op.create_table(name, *parts, **options)
        return
    if not _columns_of(name) >= {part.name for part in parts if isinstance(part, sa.Column)}:
        raise ForeignTable(name)


def drop_table(name: str) -> None:
    """Drop a table, unless it is gone already."""
    if sa.inspect(op.get_bind()).has_table(name):
        op.drop_table(name)


def make_index(name: str, table: str, columns: list[str], *, unique: bool = False) -> None:
    """Make an index, unless it is there already."""
    if name not in _indexes_of(table):
        op.create_index(name, table, columns, unique=unique)


def drop_index(name: str, table: str) -> None:
    """Drop an index, unless it is gone already."""
    if name in _indexes_of(table):
        op.drop_index(name, table)


def add_column(table: str, column: sa.Column[Any]) -> None:
    """Add a column, unless it is there already."""
    if column.name not in _columns_of(table):
        op.add_column(table, column)


def drop_column(table: str, name: str) -> None:
    """Drop a column, unless it is gone already."""
    if name in _columns_of(table):
        op.drop_column(table, name)


def _indexes_of(table: str) -> set[str | None]:
    return {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table)}


def _columns_of(table: str) -> set[str]:
    return {column["name"] for column in sa.inspect(op.get_bind()).get_columns(table)}
