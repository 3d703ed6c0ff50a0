"""Envoy's routes and clusters: one route a method, one cluster a domain, one for the streams.

There is no route but by the exact path of a method, so an internal method, or one that the contract does not know,
falls through to the last route and is answered with 404 (UNIMPLEMENTED for gRPC). REST needs no routes of its own: the
transcoder turns a REST path into the method's and Envoy looks for the route again. Only the paths of methods with
larger bodies than all others have one, which says how large; it leads nowhere as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from tools.contract import DEFAULT_REQUEST_BYTES, Binding, Contract, ContractError, Method

# A node of a JSON document.
Json = dict[str, Any]

STREAMS_CLUSTER = "plinth-streams"
# A cluster that no configuration has: a call routed there is answered with 404.
NOWHERE = "no-such-method"
# How long a stream may say nothing. Vanished peers are found sooner, by keepalive.
STREAM_IDLE = timedelta(hours=1)
# The same for a `Watch…`, which owes a heartbeat every 15 seconds: one that misses four of them is stuck.
WATCH_IDLE = timedelta(minutes=1)
UNARY_IDLE = timedelta(minutes=1)
# What a server gets less than the edge waits, so that it can say DEADLINE_EXCEEDED itself.
DEADLINE_MARGIN = timedelta(milliseconds=250)
REFLECTION = (
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)
HEALTH = "/grpc.health.v1.Health/Check"
# Of headers that a client of REST may send: names that gRPC has no characters for, or reads as its own.
NOT_FOR_GRPC = r".*[^:0-9a-z_.-].*|.*-bin|grpc-(encoding|accept-encoding|status|message|internal-.*)"
# https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
TIMEOUT = r"[0-9]{1,8}[HMSmun]"
# What is in an answer of any type may come from a stranger: a browser must run none of it as a page of this origin.
ANY_BYTES = {"x-content-type-options": "nosniff", "content-security-policy": "default-src 'none'; sandbox"}
# A file is saved, not shown, and kept by nobody else. The server may say it better, with the name of the file.
FILE = {"content-disposition": "attachment", "cache-control": "no-store"}
_VARIABLE = re.compile(r"\{[^}=]+(?:=([^}]+))?\}")
_WILDCARD = re.compile(r"(\*\*|\*)")


def duration(value: timedelta) -> str:
    """A duration as protojson writes it: `15s`, `0.250s`."""
    seconds, rest = divmod(value, timedelta(seconds=1))
    return f"{seconds}.{rest // timedelta(milliseconds=1):03d}s" if rest else f"{seconds}s"


def cluster_name(domain: str) -> str:
    """The cluster that serves a domain's methods."""
    return f"plinth-{domain}"


def domains(contract: Contract) -> list[str]:
    """The domains with a method that is answered by the server process, in order."""
    return sorted({method.domain for method in contract.methods if not method.watches})


def routes(contract: Contract) -> list[Json]:
    """The routes of every method that may be called from outside, then the mesh's own, then the refusal of all else."""
    serving = domains(contract)
    if not serving:
        raise ContractError("No service in the contract: there is nothing to route.")
    found = [_method_route(method) for method in contract.methods if not method.internal]
    mesh = cluster_name(serving[0])
    # A reflection session is a stream; it may idle while a person types.
    found += [_route(path, mesh, timeout=None, idle=STREAM_IDLE) for path in REFLECTION]
    found.append(_route(HEALTH, mesh, timeout=timedelta(seconds=5), idle=UNARY_IDLE))
    for method in contract.methods:
        if method.uploads or method.max_request_bytes > DEFAULT_REQUEST_BYTES:
            for number, binding in enumerate(method.bindings):
                name = f"{NOWHERE}-{method.full_name}.{number}"
                found += _untranscoded(name, _rest_match(binding), None if method.uploads else method.max_request_bytes)
    found += _untranscoded(NOWHERE, {"prefix": "/"}, DEFAULT_REQUEST_BYTES)
    return found


def largest_body(contract: Contract) -> int:
    """The most that any method takes in one request, in bytes."""
    return max(method.max_request_bytes for method in contract.methods)


def _rest_match(binding: Binding) -> Json:
    """Matches the REST form of a method: its verb, and any path of its template."""
    template = _VARIABLE.sub(lambda match: match[1] or "*", binding.path)
    wildcards = {"**": "[^:]+", "*": "[^/:]+"}
    regex = "".join(wildcards.get(part) or re.escape(part) for part in _WILDCARD.split(template))
    verb = {"name": ":method", "string_match": {"exact": binding.verb}}
    return {"safe_regex": {"regex": regex}, "headers": [verb]}


def _untranscoded(name: str, match: Json, limit: int | None) -> Iterator[Json]:
    """What REST calls meet before they are transcoded: their bodies are bounded, unless `limit` is None.

    Headers end here that gRPC would fail calls for by itself, which HTTP shows as a 500.
    """
    # Not a direct response: the CORS filter looks before a REST path is transcoded, and minds only routes to clusters.
    nowhere = {"cluster": NOWHERE, "cluster_not_found_response_code": "NOT_FOUND"}
    # A deadline that cannot be read is none.
    unreadable = {"name": "grpc-timeout", "string_match": {"safe_regex": {"regex": TIMEOUT}}, "invert_match": True}
    untimed = match | {"headers": [*match.get("headers", ()), unreadable]}
    kind = "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute"
    for route, matched, dropped in (
        (f"{name}-untimed", untimed, f"{NOT_FOR_GRPC}|grpc-timeout"),
        (name, match, NOT_FOR_GRPC),
    ):
        removal = {"remove_on_match": {"key_matcher": {"safe_regex": {"regex": dropped}}}}
        filters: Json = {} if limit is None else _body_limit(limit)
        filters["envoy.filters.http.header_mutation"] = {"@type": kind, "mutations": {"request_mutations": [removal]}}
        yield {"name": route, "match": matched, "route": nowhere, "typed_per_filter_config": filters}


def _body_limit(limit: int) -> Json:
    """Waits for the whole body, and bounds it. The transcoder's own limit lets longer ones stream through."""
    kind = "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.BufferPerRoute"
    return {"envoy.filters.http.buffer": {"@type": kind, "buffer": {"max_request_bytes": limit}}}


def _method_route(method: Method) -> Json:
    streaming = method.client_streaming or method.server_streaming
    cluster = STREAMS_CLUSTER if method.watches else cluster_name(method.domain)
    # A call that brings all of its answer at once is silent until then.
    answering = max(UNARY_IDLE, method.timeout or UNARY_IDLE)
    idle = WATCH_IDLE if method.watches else STREAM_IDLE if method.server_streaming else answering
    route = _route(method.path, cluster, timeout=method.timeout, idle=idle)
    if method.downloads and method.server_streaming:
        # A file that the server ended late would look whole over REST. The edge breaks the connection off instead.
        route.pop("request_headers_to_add", None)
    if method.sends_events:
        # Whatever stands before this edge passes each event on at once, and keeps none.
        route["response_headers_to_add"] = _headers({"cache-control": "no-store", "x-accel-buffering": "no"})
    elif method.downloads:
        route["response_headers_to_add"] = _headers(ANY_BYTES)
        if method.server_streaming:
            route["response_headers_to_add"] += _headers(FILE, "ADD_IF_ABSENT")
    if method.read_only and not method.client_streaming:
        route["route"]["retry_policy"] = {
            # UNAVAILABLE is what a draining or overloaded server says; nothing else is tried again.
            "retry_on": "connect-failure,refused-stream,unavailable",
            "num_retries": 2,
            "retry_back_off": {"base_interval": "0.050s", "max_interval": "0.500s"},
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": {
                        "@type": "type.googleapis.com/"
                        "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                    },
                }
            ],
            "host_selection_retry_max_attempts": "3",
        }
    if not streaming:
        # A server gives a thread to a call as soon as it has the headers: what has no end yet waits here.
        route["typed_per_filter_config"] = _body_limit(method.max_request_bytes)
    return route


def _headers(values: dict[str, str], action: str = "OVERWRITE_IF_EXISTS_OR_ADD") -> list[Json]:
    return [{"header": {"key": key, "value": value}, "append_action": action} for key, value in values.items()]


def _route(path: str, cluster: str, *, timeout: timedelta | None, idle: timedelta) -> Json:
    # Zero is Envoy's way to say that a whole call may last for ever.
    action = {"cluster": cluster, "timeout": duration(timeout or timedelta(0)), "idle_timeout": duration(idle)}
    route: Json = {"name": path.removeprefix("/"), "match": {"path": path}, "route": action}
    if timeout is not None:
        # A REST call states no deadline; this one lets the server stop in time.
        deadline = timeout - min(DEADLINE_MARGIN, timeout / 10)
        value = f"{deadline // timedelta(milliseconds=1)}m"
        route["request_headers_to_add"] = _headers({"grpc-timeout": value}, "ADD_IF_ABSENT")
    return route


def clusters(contract: Contract) -> list[Json]:
    """A cluster a domain and one for the streams, in order, each with a placeholder for its endpoints."""
    names = [cluster_name(domain) for domain in domains(contract)]
    if any(method.watches and not method.internal for method in contract.methods):
        names.append(STREAMS_CLUSTER)
    return [_cluster(name) for name in names]


def _cluster(name: str) -> Json:
    many = 20_000
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        "per_connection_buffer_limit_bytes": 1 << 20,
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [
                {
                    "lb_endpoints": [
                        {
                            "endpoint": {
                                "address": {"socket_address": {"address": "127.0.0.1", "port_value": 50051}},
                            }
                        }
                    ]
                }
            ],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {
                    "http2_protocol_options": {
                        # One connection carries this many calls before another is opened.
                        "max_concurrent_streams": 1000,
                        "initial_stream_window_size": 1 << 20,
                        "initial_connection_window_size": 4 << 20,
                        # Servers allow a ping every ten seconds or more.
                        "connection_keepalive": {"interval": "30s", "timeout": "10s"},
                    }
                },
            }
        },
        # Envoy queues and refuses nothing on its own: the server's admission stage does, and says when to come back.
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": many,
                    "max_pending_requests": many,
                    "max_requests": many,
                    # Retries never become a load of their own.
                    "retry_budget": {"budget_percent": {"value": 20}, "min_retry_concurrency": 5},
                }
            ]
        },
        "health_checks": [
            {
                "grpc_health_check": {},
                "timeout": "1s",
                "interval": "5s",
                "no_traffic_interval": "5s",
                "unhealthy_interval": "1s",
                "no_traffic_healthy_interval": "5s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
            }
        ],
    }
