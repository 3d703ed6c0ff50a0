"""Messages of the contract that both answers and events hold."""

from plinth.search.v1 import events_pb2, index_pb2
from services.kernel.wire import timestamp
from services.search.model.index import EmbedderKind, Index, VectorSet


def embedder_message(kind: EmbedderKind) -> index_pb2.EmbedderKind.ValueType:
    """How passages get their vectors."""
    return index_pb2.EmbedderKind.Value(kind.wire_name)


def vector_set_message(vectors: VectorSet | None) -> index_pb2.VectorSet | None:
    """A set of vectors."""
    if vectors is None:
        return None
    return index_pb2.VectorSet(
        embedder=embedder_message(vectors.embedder),
        model=vectors.model,
        dimensions=vectors.dimensions,
        vector_count=vectors.vector_count,
        approximate=vectors.approximate,
        create_time=timestamp(vectors.create_time),
    )


def updated_message(before: Index, after: Index) -> events_pb2.IndexUpdated:
    """An index that is set up otherwise."""
    changed = [name for name in ("embedder", "log_queries") if getattr(before, name) != getattr(after, name)]
    return events_pb2.IndexUpdated(
        index=after.name,
        changed_fields=changed,
        embedder=embedder_message(after.embedder),
        log_queries=after.log_queries,
    )


def swapped_message(index: Index, live: VectorSet | None) -> events_pb2.IndexSwapped:
    """An index whose queries are answered by other vectors."""
    return events_pb2.IndexSwapped(index=index.name, live=vector_set_message(live))
