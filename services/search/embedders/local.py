"""Embeddings by a sentence-transformers model in a local folder. Nothing is ever downloaded."""

from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from services.kernel.config import ConfigError

_MAX_BATCH = 32


class LocalEmbedder:
    """An Embedder that computes here. The model loads when it is made, which takes seconds."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigError where there is no such folder, or where sentence-transformers (5 or newer) is missing."""
        if not path.is_dir():
            raise ConfigError(f"There is no folder {path}, where the embedder's model should be.")
        try:
            # With torch, it takes seconds and hundreds of megabytes: only who uses it pays.
            from sentence_transformers import SentenceTransformer
        except ImportError:
            raise ConfigError("A local embedder needs sentence-transformers: pip install 'plinth[local]'.") from None
        self._model = SentenceTransformer(str(path), local_files_only=True)
        self._path = path
        # The model does not say that it is safe for many threads; and one computes on all cores already.
        self._lock = Lock()
        self._dimensions = len(self.embed_query("dimensions"))

    @property
    def name(self) -> str:
        """The folder's name."""
        return self._path.name

    @property
    def dimensions(self) -> int:
        """The length of the vectors."""
        return self._dimensions

    @property
    def max_batch(self) -> int:
        """How many texts the model takes at once."""
        return _MAX_BATCH

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Passages to texts × dimensions; the model cuts what is too long for it."""
        with self._lock:
            vectors = self._model.encode_document(
                list(texts), batch_size=_MAX_BATCH, normalize_embeddings=True, show_progress_bar=False
            )
        return np.asarray(vectors, np.float32).reshape(len(texts), self._dimensions)

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """A query to its vector."""
        with self._lock:
            vector = self._model.encode_query(text, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vector, np.float32)
