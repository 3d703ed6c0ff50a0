"""Keyset paging (AIP-158): opaque page tokens, signed and bound to the query they were issued for."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import orjson

from services.kernel.errors import PageTokenInvalid

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 500
_TAG_BYTES = 16

T = TypeVar("T")
# None: what the row is sorted by is not set.
KeyPart = str | int | UUID | datetime | None


@dataclass(frozen=True, slots=True)
class Page:
    """What to read: `size` rows after the key `after` (None: from the start), within the query `query`."""

    size: int
    after: tuple[KeyPart, ...] | None
    query: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many rows to read: one more than are shown, which tells whether there is a next page."""
        return self.size + 1

    def after_id(self) -> UUID | None:
        """The key, where it is one id; None: from the start. Raises PageTokenInvalid for another kind of key."""
        match self.after:
            case None:
                return None
            case (UUID() as last,):
                return last
            case _:
                raise PageTokenInvalid


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

    def cut(self, page: Page, rows: list[T], key: Callable[[T], tuple[KeyPart, ...]]) -> tuple[list[T], str]:
        """Of the `page.count` rows that were asked for, those to show, and the token of the next page, if any.

        `key` is what the rows are ordered by.
        """
        if len(rows) <= page.size:
            return rows, ""
        shown = rows[: page.size]
        return shown, self.next_token(page, key(shown[-1]))

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


def _tagged(part: KeyPart) -> tuple[str, str | int | None]:
    match part:
        case None:
            return "n", None
        case UUID():
            return "u", str(part)
        case datetime():
            return "t", part.isoformat()
        case int():
            return "i", part
        case str():
            return "s", part


def _untagged(kind: str, value: str | int | None) -> KeyPart:
    match kind:
        case "u":
            return UUID(str(value))
        case "t":
            return datetime.fromisoformat(str(value))
        case _:
            return value
