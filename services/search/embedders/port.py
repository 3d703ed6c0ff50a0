"""The port: what search needs of an embedder, and how one fails."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class ProviderUnavailable(Exception):
    """The provider does not answer for now; the same call may be made again, after `retry_after` if that is known."""

    def __init__(self, message: str, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ProviderBusy(ProviderUnavailable):
    """As much as may be asked of the provider a minute was asked: this was not."""


class ProviderRefused(Exception):
    """The provider does not take this, or answers what cannot be used: a retry does not help, a person has to look.

    `reason` is a sentence for that person, and holds neither the key nor any text that was to be embedded.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TextRefused(ProviderRefused):
    """It is a text that the provider does not take: of other texts this says nothing."""


class Embedder(Protocol):
    """Turns texts into vectors of length 1, so that their inner product is their likeness. Safe for many threads."""

    @property
    def name(self) -> str:
        """The model. Vectors of one name and one number of dimensions can be compared."""
        ...

    @property
    def dimensions(self) -> int:
        """The length of the vectors."""
        ...

    @property
    def max_batch(self) -> int:
        """How many texts are embedded at once; a caller that keeps its progress does so after as many."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Passages to texts × dimensions, in their order. Takes any number of texts, none of them empty.

        Raises ProviderUnavailable or ProviderRefused.
        """
        ...

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """A query to its vector, quickly or not at all: somebody waits. Raises as `embed_texts` does."""
        ...
