"""Tables as text: CSV and its kin."""

import csv
import io
from typing import BinaryIO

from services.documents.parsing.formats.text import decode
from services.documents.parsing.formats.transcript import Transcript
from services.documents.parsing.sniff import delimiter_of

# The limits of the document hold, not one for each field.
csv.field_size_limit(2**31 - 1)


def read(source: BinaryIO, out: Transcript) -> None:
    """One table, its first row taken for the header."""
    text = decode(source.read(), out)
    out.table(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter_of(text) or ","))
