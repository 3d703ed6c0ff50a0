"""Deleting many rows in many commits."""

from sqlalchemy import ColumnElement, Table, any_, bindparam, delete, func, literal_column, select

from services.kernel.db import Statement, compiled

_row: ColumnElement[object] = literal_column("ctid")


def delete_some(table: Table, condition: ColumnElement[bool]) -> Statement:
    """Deletes rows that meet a condition: at most `count` of them, which is a parameter, in whatever order."""
    some = select(_row).select_from(table).where(condition).limit(bindparam("count"))
    return compiled(delete(table).where(_row == any_(func.array(some.scalar_subquery()))))
