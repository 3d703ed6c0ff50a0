"""What embedders say, as search's own errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from services.search.embedders.port import ProviderRefused, ProviderUnavailable
from services.search.errors import EmbedderRefused, EmbedderUnavailable
from services.search.model.index import EmbedderKind

_RETRY_AFTER = timedelta(seconds=5)


@contextmanager
def asking(kind: EmbedderKind) -> Iterator[None]:
    """Around whatever asks an embedder of this kind. Raises EmbedderUnavailable or EmbedderRefused."""
    try:
        yield
    except ProviderUnavailable as error:
        raise EmbedderUnavailable(kind.wire_name, error.retry_after or _RETRY_AFTER) from error
    except ProviderRefused as error:
        raise EmbedderRefused(error.reason) from error
