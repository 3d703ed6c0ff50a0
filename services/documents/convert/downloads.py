"""A version of a document on its way to a browser."""

import base64
from collections.abc import Iterable, Iterator
from urllib.parse import quote

from google.api.httpbody_pb2 import HttpBody

from services.documents.model.documents import DocumentVersion

# RFC 8187 §3.2.1: what stands for itself in an extended value.
_ATTR_CHARS = "!#$&+-.^_`|~"


def headers_of(display_name: str, version: DocumentVersion) -> tuple[tuple[str, str], ...]:
    """What a browser is told: to keep the file, and never to show or run it as a page of ours."""
    digest = base64.b64encode(bytes.fromhex(version.sha256)).decode()
    return (
        ("content-disposition", disposition_of(display_name)),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "default-src 'none'; sandbox"),
        ("cache-control", "private, no-store"),
        # RFC 9530: whoever doubts that all of it came can tell.
        ("repr-digest", f"sha-256=:{digest}:"),
    )


def bodies_of(version: DocumentVersion, chunks: Iterable[bytes]) -> Iterator[HttpBody]:
    """The bytes, the first with their type."""
    content_type = version.media_type
    for chunk in chunks:
        yield HttpBody(content_type=content_type, data=chunk)
        content_type = ""


def disposition_of(display_name: str) -> str:
    """Content-Disposition of an attachment of this name (RFC 6266, RFC 8187): the name in ASCII, and as it is."""
    plain = "".join(
        character if " " <= character <= "~" and character not in '"\\/%' else "_" for character in display_name
    )
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(display_name, safe=_ATTR_CHARS)}"
