"""The formats that are read, one module a family."""

from csv import Error as CsvError
from zipfile import BadZipFile
from zlib import error as ZlibError  # noqa: N812  # the library's own name is lower case

from lxml.etree import LxmlError
from openpyxl.utils.exceptions import InvalidFileException
from pypdfium2 import PdfiumError

from services.documents.model import media_types
from services.documents.parsing.formats import docx, html, mail, markdown, ole, pdf, pptx, table, text, xlsx
from services.documents.parsing.formats.registry import Format

_PACKAGE = (BadZipFile, ZlibError, LxmlError, LookupError, ValueError, EOFError, NotImplementedError)
# openpyxl, and the email package, meet what they do not expect with whatever Python raises then.
_WORKBOOK = (*_PACKAGE, InvalidFileException, SyntaxError, TypeError, AttributeError)
_MAIL = (LookupError, ValueError, TypeError, AttributeError)

FORMATS = (
    Format(media_types.PDF, pdf.read, (PdfiumError,)),
    Format(media_types.DOCX, docx.read, _PACKAGE),
    Format(media_types.PPTX, pptx.read, _PACKAGE),
    Format(media_types.XLSX, xlsx.read, _WORKBOOK),
    Format(media_types.OLE, ole.read),
    Format(media_types.HTML, html.read, (LxmlError,)),
    Format(media_types.EML, mail.read, _MAIL),
    Format(media_types.MARKDOWN, markdown.read),
    Format(media_types.CSV, table.read, (CsvError,)),
    Format(media_types.TSV, table.read, (CsvError,)),
    Format(media_types.JSON, text.read_code),
    Format(media_types.XML, text.read_code),
    Format(media_types.TEXT, text.read),
)
