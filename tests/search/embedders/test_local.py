"""The local embedder, where it cannot be had."""

import sys
from pathlib import Path

import pytest

from services.kernel.config import ConfigError
from services.search.embedders.local import LocalEmbedder


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"no folder {tmp_path}/model"):
        LocalEmbedder(tmp_path / "model")


def test_without_the_package_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ConfigError, match=r"plinth\[local\]"):
        LocalEmbedder(tmp_path)
