"""OLE files: Office documents from before 2007, which are not read, and new ones under a password, which cannot be."""

from typing import BinaryIO, NoReturn

from services.documents.parsing.failures import ParseFailed, Reason
from services.documents.parsing.formats.transcript import Transcript

# The stream that holds an encrypted package (MS-OFFCRYPTO 2.3), as names are written in the directory of the file.
_ENCRYPTED_PACKAGE = "EncryptedPackage".encode("utf-16-le")


def read(source: BinaryIO, out: Transcript) -> NoReturn:
    """Say which of both it is. Raises ParseFailed."""
    del out
    if _ENCRYPTED_PACKAGE in source.read():
        raise ParseFailed(Reason.ENCRYPTED, "The document is protected by a password.")
    raise ParseFailed(Reason.UNSUPPORTED, "Office files from before 2007 cannot be read: save it in today's format.")
