"""The server's own services, health and reflection: on threads of their own, so that calls and they never wait for each
other, however many calls are at work and however many sessions of them idle.
"""

import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

V1_REFLECTION = "grpc.reflection.v1.ServerReflection"
_HEALTH_THREADS = 2
_REFLECTION_THREADS = 4
# A session of reflection holds a thread. Tools that are cut off open another.
_REFLECTION_SECONDS = 30.0


class Introspection:
    """Tells who asks how the server is, and what it offers."""

    def __init__(self, service_names: Sequence[str]) -> None:
        health_threads = ThreadPoolExecutor(_HEALTH_THREADS, thread_name_prefix="plinth-health")
        self._health = health.HealthServicer(experimental_non_blocking=True, experimental_thread_pool=health_threads)
        self._check = _on(health_threads, self._health.Check)
        # Any: its types forget that it is a generator.
        servicer: Any = reflection.ReflectionServicer(service_names)
        self._reflect = _on(
            ThreadPoolExecutor(_REFLECTION_THREADS, thread_name_prefix="plinth-reflection"),
            functools.partial(_bounded, servicer.ServerReflectionInfo),
        )

    @property
    def status(self) -> health.HealthServicer:
        """Where the status of each service is set."""
        return self._health

    def add_health(self, server: grpc.Server) -> None:
        """Answer grpc.health.v1; may be added to several servers. An idle `Watch` holds no thread."""
        servicer: Any = SimpleNamespace(Check=self._check, List=self._health.List, Watch=self._health.Watch)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)

    def add_reflection(self, server: grpc.Server) -> None:
        """Answer grpc.reflection.v1 and v1alpha, whose messages are the same ones."""
        handler = grpc.stream_stream_rpc_method_handler(
            self._reflect,
            request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
            response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
        for service in (V1_REFLECTION, reflection.SERVICE_NAME):
            generic = grpc.method_handlers_generic_handler(service, {"ServerReflectionInfo": handler})
            server.add_generic_rpc_handlers((generic,))


def _on(threads: ThreadPoolExecutor, behavior: Callable[..., Any]) -> Any:
    """The behavior, to be run by these threads; grpcio looks for the attribute."""

    def run(request: Any, context: Any) -> Any:
        return behavior(request, context)

    run.experimental_thread_pool = threads  # type: ignore[attr-defined]  # of functions, too
    return run


def _bounded(reflect: Callable[..., Iterator[Any]], requests: Iterator[Any], context: Any) -> Iterator[Any]:
    timer = threading.Timer(_REFLECTION_SECONDS, context.cancel)
    timer.daemon = True
    timer.start()
    try:
        yield from reflect(requests, context)
    finally:
        timer.cancel()
