"""The one chain: the ordered list of stages that every call passes, and its walk for calls on threads."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import Token
from dataclasses import dataclass
from typing import Any

from grpc_interceptor import ServerInterceptor
from grpc_status import rpc_status
from opentelemetry.sdk.trace import TracerProvider

from interceptors.access import AccessControl, MethodDenied
from interceptors.access_log import AccessLog
from interceptors.admission import Admission
from interceptors.auth import Auth
from interceptors.call import Call
from interceptors.csrf import Csrf
from interceptors.errors import Errors, retry_after_seconds, status_of
from interceptors.idempotency import Idempotency
from interceptors.metrics import Metrics
from interceptors.opening import BrokenOff, Opening, tolerant
from interceptors.policy import PolicyTable
from interceptors.ports import Quota
from interceptors.quota import Quotas, TokenBuckets
from interceptors.request_stream import RequestStream
from interceptors.stages import Stage, Walk
from interceptors.tenant import Tenant
from interceptors.tracing import Tracing
from interceptors.validation import Validation
from services.kernel.caller import Caller, reset_caller, set_caller
from services.kernel.config import Settings
from services.kernel.deadline import reset_deadline, set_deadline
from services.kernel.errors import CallDeadlineExceeded
from services.kernel.idempotency import Replay
from services.kernel.secrets import Keyring
from services.kernel.telemetry import LineWriter

# The mesh's own services, which show nothing of any tenant. Every other method needs a policy.
UNGUARDED = ("/grpc.health.v1.", "/grpc.reflection.v1.", "/grpc.reflection.v1alpha.")
# The edge's transcoder tells which URL was called; a call of gRPC has none.
_TRANSCODED = "x-envoy-original-path"
# An open stream is judged again before a message that comes this long after the last judgement.
RECHECK_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages of a process, by name: some are asked for more than their part in the walk."""

    tracing: Tracing
    metrics: Metrics
    logging: AccessLog
    errors: Errors
    admission: Admission
    auth: Auth
    opening: Opening
    csrf: Csrf
    tenant: Tenant
    access: AccessControl
    quota: Quotas
    validation: Validation
    idempotency: Idempotency

    def in_order(self) -> Sequence[Stage]:
        """The order is the contract's order of refusals (AIP-211); each position has its reason."""
        return (
            self.tracing,  # first: whatever happens has a trace and a request id
            self.metrics,  # outside everything that refuses: refusals are counted
            self.logging,  # after the ids it writes, before what may fail
            self.errors,  # turns what the rest raises into the status that those above report
            self.admission,  # before any work is done for a call that nobody waits for
            self.auth,  # UNAUTHENTICATED comes before all other answers
            self.opening,  # now there is a message to judge; only who is known may keep us waiting for it
            self.csrf,  # who calls by cookie has to show that a page of ours does; the request may ask for one
            self.tenant,  # a name that does not parse: INVALID_ARGUMENT, and now it is known where
            self.access,  # NOT_FOUND, then PERMISSION_DENIED: before the fields, so that they reveal nothing
            self.quota,  # only who may call draws from a bucket or a quota
            self.validation,  # INVALID_ARGUMENT with every field that breaks a rule
            self.idempotency,  # last: a replay has passed everything that a first call passes
        )

    def for_streams(self) -> Sequence[Stage]:
        """The same without the claim on a request_id, which no stream carries."""
        return self.in_order()[:-1]


def rate_limits(settings: Settings) -> TokenBuckets:
    """The token buckets that the settings describe."""
    rates = {
        "standard": settings.rate_standard,
        "credentials": settings.rate_credentials,
        "bulk": settings.rate_bulk,
    }
    return TokenBuckets(rates, settings.rate_burst_seconds)


def build_stages(
    settings: Settings,
    keyring: Keyring,
    provider: TracerProvider,
    writer: LineWriter,
    auth: Auth,
    access: AccessControl,
    quota: Quota,
) -> Stages:
    """The stages of one process."""
    max_transfers = max(1, settings.threads // 2)
    return Stages(
        tracing=Tracing(provider, settings.trace_ratio),
        metrics=Metrics(),
        logging=AccessLog(writer),
        errors=Errors(),
        admission=Admission(settings.max_queue_seconds, max_transfers),
        auth=auth,
        opening=Opening(),
        csrf=Csrf(settings),
        tenant=Tenant(),
        access=access,
        quota=Quotas(rate_limits(settings), quota, max(1, max_transfers // 2)),
        validation=Validation(),
        idempotency=Idempotency(keyring),
    )


class Acting:
    """While it is entered, the services see this call's caller and deadline; leaving resets both by token."""

    __slots__ = ("_call", "_caller", "_caller_token", "_deadline_token")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._caller = call.caller()
        self._caller_token: Token[Caller] | None = None
        self._deadline_token: Token[float | None] | None = None

    def __enter__(self) -> None:
        self._caller_token = set_caller(self._caller)
        self._deadline_token = set_deadline(self._call.deadline)

    def __exit__(self, *_: object) -> None:
        if self._deadline_token is not None and self._caller_token is not None:
            reset_deadline(self._deadline_token)
            reset_caller(self._caller_token)


class Chain(ServerInterceptor):
    """Walks each call of a threaded server along the stages."""

    def __init__(self, policies: PolicyTable, stages: Sequence[Stage]) -> None:
        self._policies = dict(policies)
        self._walk = Walk(stages)
        self._handlers: dict[str, Any] = {}

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """As the base class does; a request that cannot be parsed reaches the chain, and is refused there.

        Health and reflection stay as they are: a wrapper would take from them the threads that they have of their own.
        gRPC asks at every call; the handler of a method stays the same, so it is wrapped once.
        """
        method = handler_call_details.method
        handler = self._handlers.get(method)
        if handler is not None:
            return handler
        if method.startswith(UNGUARDED):
            return continuation(handler_call_details)
        handler = super().intercept_service(continuation, handler_call_details)  # type: ignore[no-untyped-call]
        if handler is not None and method in self._policies:
            handler = self._handlers[method] = tolerant(handler, self._policies[method])
        return handler

    def intercept(self, method: Callable[..., Any], request_or_iterator: Any, context: Any, method_name: str) -> Any:
        """One call, from arrival to answer. The types are gRPC's: a message or an iterator of them, in and out."""
        policy = self._policies.get(method_name)
        if policy is None:
            return unguarded(method, request_or_iterator, context, method_name)
        call = Call(policy, context)
        call.local_caller = getattr(context, "mesh_caller", None)
        if policy.response_streaming:
            return self._stream(call, method, request_or_iterator)
        return self._unary(call, method, request_or_iterator)

    def _unary(self, call: Call, method: Callable[..., Any], request: Any) -> Any:
        response: Any = None
        try:
            request = self._enter(call, request)
            with Acting(call):
                response = method(request, call.context)
                self._walk.answer(call, response)
        except Replay as replay:
            response = call.policy.response_class.FromString(replay.answer)
        except BaseException as error:  # noqa: BLE001  # the errors stage is the one place that knows them all
            call.error = error
        self._leave(call)
        if call.error is not None:
            refuse(call)
        return response

    def _stream(self, call: Call, method: Callable[..., Any], request: Any) -> Iterator[Any]:
        try:
            request = self._enter(call, request)
            yield from self._answers(call, method, request)
        except BaseException as error:  # noqa: BLE001  # GeneratorExit too, when the client has gone
            call.error = error
        self._leave(call)
        if isinstance(call.error, GeneratorExit):
            raise call.error
        if call.error is not None:
            if call.answering and call.policy.downloads and _TRANSCODED in call.metadata:
                yield BrokenOff()
            refuse(call)

    def _answers(self, call: Call, method: Callable[..., Any], request: Any) -> Iterator[Any]:
        acting = Acting(call)
        with acting:
            responses = iter(method(request, call.context))
        recheck = self._recheck_of(call)
        try:
            while True:
                # A generator's body runs inside `next`: the caller is set for just so long, each time.
                with acting:
                    response = next(responses, None)
                if response is None:
                    break
                if call.deadline is not None and time.monotonic() > call.deadline:
                    raise CallDeadlineExceeded
                recheck()
                call.answering = True
                yield response
        finally:
            # A handler that is given up cleans up now and on this thread, not whenever it is collected.
            with acting:
                getattr(responses, "close", _nothing)()

    def _enter(self, call: Call, request: Any) -> Any:
        if not call.policy.request_streaming:
            call.request = request
            self._walk.enter(call)
            return request
        messages = RequestStream(request, call.deadline, self._recheck_of(call))
        call.first_message, call.stop_reading = messages.first, messages.close
        self._walk.enter(call)
        return messages

    def _recheck_of(self, call: Call) -> Callable[[], None]:
        """Judges the call again, if it is long enough ago; to be called at each message of a stream."""
        checked = time.monotonic()

        def recheck() -> None:
            nonlocal checked
            if time.monotonic() - checked > RECHECK_SECONDS:
                self._walk.recheck(call)
                checked = time.monotonic()

        return recheck

    def _leave(self, call: Call) -> None:
        if call.stop_reading is not None:
            call.stop_reading()
        self._walk.leave(call)


def _nothing() -> None:
    pass


def unguarded(method: Callable[..., Any], request: Any, context: Any, method_name: str) -> Any:
    """A method without a policy: the mesh's own health and reflection pass, anything else is denied."""
    if method_name.startswith(UNGUARDED):
        return method(request, context)
    status, _ = status_of(MethodDenied())
    context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError("abort_with_status raises")


def refuse(call: Call) -> None:
    """End the call with its status; the edge turns RetryInfo's twin in the metadata into a Retry-After header."""
    context: Any = call.context
    seconds = retry_after_seconds(call.status)
    if seconds is not None and not call.answering:
        # A handler that came to its end may have sent headers of its own; then it is too late for this one.
        with contextlib.suppress(ValueError):
            context.send_initial_metadata((("retry-after", str(seconds)),))
    context.abort_with_status(rpc_status.to_status(call.status))
