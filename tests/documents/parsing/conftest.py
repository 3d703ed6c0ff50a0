"""Parsers to hand files to."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.documents.model.parsed import Parsed
from services.documents.parsing.limits import Limits
from services.documents.parsing.pool import ParserPool
from services.documents.parsing.sniff import sniff

# A file by its bytes and its name, within limits, as it comes in: sniffed, then parsed.
Parse = Callable[..., Parsed]


@pytest.fixture(scope="session")
def pool() -> Iterator[ParserPool]:
    """The parsers as a worker has them."""
    pool = ParserPool()
    yield pool
    pool.close()


@pytest.fixture
def parse(pool: ParserPool, tmp_path: Path) -> Parse:
    """Bytes to a document."""

    def parse(data: bytes, name: str = "", limits: Limits | None = None) -> Parsed:
        path = tmp_path / "blob"
        path.write_bytes(data)
        with path.open("rb") as source:
            media_type = sniff(source, name)
        return pool.parse(path, media_type, limits)

    return parse
