"""The local embedder: what it asks of a sentence-transformers model, and where it cannot be had."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

from services.kernel.config import ConfigError, Settings
from services.runtime import Runtime
from services.search.embedders.build import Embedders
from services.search.embedders.local import LocalEmbedder
from services.search.embedders.report import EmbedderReport
from services.search.errors import EmbedderNotConfigured
from services.search.model.index import EmbedderKind
from services.search.service import build_search
from tests.search.library import Library
from tests.support.settings import settings_for_tests

LETTERS = "abcdefghijklmnopqrstuvwxyz"


class SentenceTransformer:
    """Stands in for a model: a text's vector is of its letters, and a query's has a prompt's before it."""

    def __init__(self, path: str, *, local_files_only: bool) -> None:
        assert local_files_only, "nothing is ever downloaded"
        if not (Path(path) / "config.json").exists():
            raise OSError("there is no model in it")

    def encode_document(
        self, texts: Sequence[str], *, batch_size: int, normalize_embeddings: bool, show_progress_bar: bool
    ) -> NDArray[np.float64]:
        assert batch_size > 0
        return self._encoded(texts, normalize_embeddings, show_progress_bar)

    def encode_query(self, text: str, *, normalize_embeddings: bool, show_progress_bar: bool) -> NDArray[np.float64]:
        vector: NDArray[np.float64] = self._encoded([f"query {text}"], normalize_embeddings, show_progress_bar)[0]
        return vector

    def _encoded(self, texts: Sequence[str], normalize: bool, progress: bool) -> NDArray[np.float64]:
        assert normalize
        assert not progress
        if not texts:
            return np.empty(0)
        counts = np.array([[text.count(letter) for letter in LETTERS] for text in texts], np.float64)
        vectors: NDArray[np.float64] = counts / np.linalg.norm(counts, axis=1, keepdims=True)
        return vectors


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, where the package is there."""
    package = ModuleType("sentence_transformers")
    vars(package)["SentenceTransformer"] = SentenceTransformer
    monkeypatch.setitem(sys.modules, "sentence_transformers", package)
    path = tmp_path / "all-letters"
    path.mkdir()
    (path / "config.json").write_text("{}")
    return path


def settings(folder: Path) -> Settings:
    return settings_for_tests("postgresql://", embedder_path=folder)


def test_makes_vectors_of_length_1_of_passages_and_queries(folder: Path) -> None:
    embedder = LocalEmbedder(folder)
    assert (embedder.name, embedder.dimensions) == ("all-letters", len(LETTERS))
    vectors = embedder.embed_texts(["fox", "wolf", "a fox"])
    assert vectors.dtype == np.float32
    assert vectors.shape == (3, len(LETTERS))
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    query = embedder.embed_query("fox")
    assert query.dtype == np.float32
    assert query.shape == (len(LETTERS),)
    assert int(np.argmax(vectors @ query)) == 0
    # What stands before a query stands before no passage.
    assert not np.allclose(query, vectors[0])


def test_of_no_texts_there_are_no_vectors(folder: Path) -> None:
    assert LocalEmbedder(folder).embed_texts([]).shape == (0, len(LETTERS))


def test_is_loaded_when_it_is_needed_first_and_once(folder: Path) -> None:
    embedders = Embedders(settings(folder), EmbedderReport())
    assert embedders.has(EmbedderKind.LOCAL)
    first, second = (embedders._of(EmbedderKind.LOCAL) for _ in range(2))
    assert first is second
    assert embedders.of(EmbedderKind.LOCAL).embed_texts(["fox"]).shape == (1, len(LETTERS))


def test_an_index_is_searched_by_its_vectors(
    folder: Path, runtime: Runtime, new_library: Callable[[], Library]
) -> None:
    given = runtime.settings.model_copy(update={"embedder_path": folder})
    library = replace(new_library(), services=build_search(runtime.resources, given))
    library.put(["a red fox", "one grey wolf"])
    library.use(EmbedderKind.LOCAL)
    library.make_vectors()
    library.put(["the brown bear"])
    live = library.view().live
    assert live is not None
    assert (live.model, live.dimensions, live.vector_count) == ("all-letters", len(LETTERS), 3)
    for text in ("a red fox", "one grey wolf", "the brown bear"):
        assert library.near(f"{text}es", 1) == [text]


def test_without_the_package_search_says_that_there_is_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(EmbedderNotConfigured):
        Embedders(settings(folder), EmbedderReport()).of(EmbedderKind.LOCAL)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"no folder {tmp_path}/model"):
        LocalEmbedder(tmp_path / "model")


def test_without_the_package_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ConfigError, match=r"plinth\[local\]"):
        LocalEmbedder(tmp_path)
