"""The errors of search. Resources are given by name, as the client knows them."""

from datetime import timedelta

from services.kernel.errors import FailedPrecondition, ResourceNotFound, Unavailable


class SemanticUnavailable(FailedPrecondition):
    """The index has no vectors: too few passages yet, or none are wanted."""

    reason = "SEMANTIC_UNAVAILABLE"

    def __init__(self, embedder: str) -> None:
        super().__init__("The index has no vectors: search by words.", embedder=embedder)


class EmbedderNotConfigured(FailedPrecondition):
    """This instance has no such embedder."""

    reason = "EMBEDDER_NOT_CONFIGURED"

    def __init__(self, embedder: str) -> None:
        super().__init__("This instance has no such embedder: see its settings.", embedder=embedder)


class EmbedderUnavailable(Unavailable):
    """The embedder's provider does not answer for now."""

    reason = "EMBEDDER_UNAVAILABLE"

    def __init__(self, embedder: str, retry_after: timedelta) -> None:
        super().__init__("The embedder's provider does not answer.", retry_after=retry_after, embedder=embedder)


class EmbedderRefused(FailedPrecondition):
    """The embedder's provider refuses; `problem` is a sentence for people, without the key and any text.

    `of_text`: it refuses this text; else whatever it is asked, until somebody has mended the key or the settings.
    """

    reason = "EMBEDDER_REFUSED"

    def __init__(self, problem: str, *, of_text: bool = False) -> None:
        super().__init__("The embedder's provider refuses.", problem=problem, scope="text" if of_text else "provider")
        self.problem, self.of_text = problem, of_text


class VersionOutdated(FailedPrecondition):
    """A newer version of the document was published, or it is deleted."""

    reason = "VERSION_OUTDATED"

    def __init__(self, version: int) -> None:
        super().__init__("The version is no longer wanted.", version=str(version))


class ChunksMissing(FailedPrecondition):
    """Not all passages of the version are staged."""

    reason = "CHUNKS_MISSING"

    def __init__(self, missing: int) -> None:
        super().__init__("Not all passages are staged: begin again with the first.", missing=str(missing))


class IndexPurged(ResourceNotFound):
    """The workspace was purged: nothing is kept for it any more."""
