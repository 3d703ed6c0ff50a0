"""A provider, and an embedder that asks it."""

from collections.abc import Iterator

import pytest

from services.search.embedders.openai import OpenAiEmbedder
from tests.search.embedders.held_time import HeldTime
from tests.search.embedders.provider import Provider


@pytest.fixture
def held() -> HeldTime:
    return HeldTime()


@pytest.fixture
def embedder(provider: Provider, held: HeldTime) -> Iterator[OpenAiEmbedder]:
    embedder = OpenAiEmbedder(provider.endpoint(), clock=held)
    yield embedder
    embedder.close()
