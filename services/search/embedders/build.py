"""The embedders that the settings of an instance name; a local model loads when it is first needed."""

import threading
import time

from services.kernel.config import ConfigError, Settings
from services.search.embedders.breaker import Breaker
from services.search.embedders.guarded import GuardedEmbedder
from services.search.embedders.local import LocalEmbedder
from services.search.embedders.openai import Endpoint, OpenAiEmbedder
from services.search.embedders.port import Embedder
from services.search.embedders.rate_limit import Time
from services.search.embedders.report import EmbedderReport
from services.search.errors import EmbedderNotConfigured
from services.search.model.index import EmbedderKind
from services.search.model.vectors import Model


class Embedders:
    """The embedders of a process. Safe for many threads."""

    def __init__(self, settings: Settings, report: EmbedderReport, clock: Time = time) -> None:
        """Raises ConfigError where the settings cannot be a provider's."""
        self._report = report
        self._breakers = {kind: Breaker(clock) for kind in EmbedderKind}
        self._path = settings.embedder_path
        self._openai = _openai(settings)
        self._local: LocalEmbedder | None = None
        self._loading = threading.Lock()

    def has(self, kind: EmbedderKind) -> bool:
        """Whether there is such an embedder here."""
        missing = {EmbedderKind.OPENAI: self._openai is None, EmbedderKind.LOCAL: self._path is None}
        return not missing.get(kind, False)

    def require(self, kind: EmbedderKind) -> None:
        """Let pass only a kind that there is here. Raises EmbedderNotConfigured."""
        if not self.has(kind):
            raise EmbedderNotConfigured(kind.wire_name)

    def may_make(self, model: Model) -> bool:
        """Whether the model's vectors are those that there would be today, as far as can be said without loading."""
        if not self.has(model.embedder) or not model.ready:
            return self.has(model.embedder)
        if model.embedder is EmbedderKind.OPENAI and self._openai is not None:
            return (model.name, model.dimensions) == (self._openai.name, self._openai.dimensions)
        return model.latent or (self._path is not None and model.name == self._path.name)

    def of(self, kind: EmbedderKind) -> GuardedEmbedder:
        """The embedder of a kind that is not made of the workspace's own words. Raises EmbedderNotConfigured."""
        return GuardedEmbedder(self._of(kind), kind, self._breakers[kind], self._report)

    def _of(self, kind: EmbedderKind) -> Embedder:
        self.require(kind)
        if kind is EmbedderKind.OPENAI and self._openai is not None:
            return self._openai
        if kind is EmbedderKind.LOCAL and self._path is not None:
            with self._loading:
                try:
                    self._local = self._local or LocalEmbedder(self._path)
                except ConfigError as error:
                    raise EmbedderNotConfigured("EMBEDDER_KIND_LOCAL") from error
                return self._local
        raise EmbedderNotConfigured(kind.wire_name)


def _openai(settings: Settings) -> OpenAiEmbedder | None:
    if not settings.embedder_url:
        return None
    return OpenAiEmbedder(
        Endpoint(
            url=settings.embedder_url,
            key=settings.embedder_key,
            model=settings.embedder_model,
            dimensions=settings.embedder_dimensions,
            send_dimensions=settings.embedder_send_dimensions,
            max_tokens=settings.embedder_max_tokens,
            max_batch=settings.embedder_batch,
            requests_per_minute=settings.embedder_requests_per_minute,
            tokens_per_minute=settings.embedder_tokens_per_minute,
        )
    )
