"""How much a workspace may store."""

import io

import pytest

from services.documents.errors import DocumentTooLarge
from services.documents.model.allowance import Allowance
from services.documents.parsing.sniff import sniff

ALLOWANCE = Allowance(file_bytes=100, packed_bytes=10, documents=1, versions=1, total_bytes=1000)


@pytest.mark.parametrize(
    "head",
    [
        b"PK\x03\x04",
        b"PK\x05\x06" + bytes(18),
        b"\x1f\x8b\x08",
        b"BZh9",
        b"\xfd7zXZ\x00",
        b"7z\xbc\xaf\x27\x1c",
        b"Rar!\x1a\x07",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    ],
)
def test_what_unpacks_to_more_may_be_less(head: bytes) -> None:
    media_type = sniff(io.BytesIO(head + bytes(100)), "file")
    ALLOWANCE.check_size(10, media_type)
    with pytest.raises(DocumentTooLarge):
        ALLOWANCE.check_size(11, media_type)


@pytest.mark.parametrize(("content", "name"), [(b"%PDF-1.7\n", "a.pdf"), (b"words", "a.zip"), (b"\x00\x01\x02", "a")])
def test_what_does_not_may_be_more(content: bytes, name: str) -> None:
    ALLOWANCE.check_size(100, sniff(io.BytesIO(content), name))
