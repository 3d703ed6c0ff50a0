"""XLSX: a table for each sheet, with values as they were last calculated."""

from collections.abc import Iterator
from datetime import date, datetime, time
from typing import BinaryIO

from openpyxl import load_workbook
from openpyxl.worksheet._read_only import ReadOnlyWorksheet

from services.documents.parsing.failures import ParseFailed, Reason
from services.documents.parsing.formats.package import open_zip
from services.documents.parsing.formats.transcript import Transcript

_MOST_ROWS = 1_048_576


def read(source: BinaryIO, out: Transcript) -> None:
    """Row by row, so that a sheet is never in memory whole; each sheet is a page under its name."""
    open_zip(source, out.limits)
    source.seek(0)
    workbook = load_workbook(source, read_only=True, data_only=True, keep_links=False)
    for sheet in workbook.worksheets:
        out.start_page()
        out.heading(sheet.title)
        # What a sheet says of its own size may be a million rows of nothing.
        sheet.reset_dimensions()
        out.table(_rows(sheet))


def _rows(sheet: ReadOnlyWorksheet) -> Iterator[list[str]]:
    for number, row in enumerate(sheet.iter_rows(values_only=True)):
        # The gap before a row that is said to be far down is filled with empty ones.
        if number >= _MOST_ROWS:
            raise ParseFailed(Reason.CORRUPT, f"A sheet has more than {_MOST_ROWS:,} rows, which no sheet can have.")
        yield [_shown(value) for value in row]


def _shown(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "TRUE" if value else "FALSE"
        case float():
            return f"{value:.15g}"
        case datetime() if value.time() == time():
            return value.date().isoformat()
        case datetime() | date() | time():
            return value.isoformat(" ") if isinstance(value, datetime) else value.isoformat()
    return str(value)
