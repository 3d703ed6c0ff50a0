"""Keyset paging (AIP-158): opaque page tokens, signed and bound to the query they were issued for."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import orjson

from services.kernel.errors import PageTokenInvalid

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 500
_TAG_BYTES = 16

KeyPart = str | int | UUID | datetime


@dataclass(frozen=True, slots=True)
class Page:
    """What to read: `size` rows after the key `after` (None: from the start), within the query `query`."""

    size: int
    after: tuple[KeyPart, ...] | None
    query: tuple[str, ...]


class Pager:
    """Makes and reads page tokens. A token says where to go on; it never authorizes anything."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def page(self, token: str, size: int, *query: str) -> Page:
        """The page that `token` asks for; `query` is the method and every filter. Raises PageTokenInvalid."""
        size = min(size, MAX_PAGE_SIZE) if size > 0 else DEFAULT_PAGE_SIZE
        return Page(size, self._read(token, query) if token else None, query)

    def next_token(self, page: Page, last_key: Sequence[KeyPart]) -> str:
        """The token for the rows after `last_key`."""
        body = orjson.dumps([_tagged(part) for part in last_key])
        return base64.urlsafe_b64encode(self._tag(page.query, body) + body).decode().rstrip("=")

    def _read(self, token: str, query: tuple[str, ...]) -> tuple[KeyPart, ...]:
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise PageTokenInvalid from None
        tag, body = raw[:_TAG_BYTES], raw[_TAG_BYTES:]
        if not hmac.compare_digest(tag, self._tag(query, body)):
            raise PageTokenInvalid
        return tuple(_untagged(kind, value) for kind, value in orjson.loads(body))

    def _tag(self, query: tuple[str, ...], body: bytes) -> bytes:
        return hmac.digest(self._key, orjson.dumps(query) + b"\0" + body, hashlib.sha256)[:_TAG_BYTES]


def _tagged(part: KeyPart) -> tuple[str, str | int]:
    match part:
        case UUID():
            return "u", str(part)
        case datetime():
            return "t", part.isoformat()
        case int():
            return "i", part
        case str():
            return "s", part


def _untagged(kind: str, value: str | int) -> KeyPart:
    match kind:
        case "u":
            return UUID(str(value))
        case "t":
            return datetime.fromisoformat(str(value))
        case _:
            return value
