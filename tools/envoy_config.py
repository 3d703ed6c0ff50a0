"""Envoy's whole configuration: admin, listener, HTTP connection manager, filters, and what envoy_routes.py makes.

The outcome is a configuration that Envoy accepts as it stands, and a form that `plinth up` fills in. It is filled in by
setting values at these places, never by replacing text:

| place | generated as | set to |
|---|---|---|
| `static_resources.listeners[0].address.socket_address` | 127.0.0.1:8080 | where the edge listens |
| `static_resources.listeners[0].filter_chains[0].transport_socket` | absent | `envoy.transport_sockets.tls` with \
`DownstreamTlsContext`: certificate and key files, `alpn_protocols: [h2, http/1.1]` |
| `static_resources.clusters[*].load_assignment.endpoints[0].lb_endpoints` | one, 127.0.0.1:50051 | the processes that \
serve the cluster, by its `name`: `plinth-<domain>`, `plinth-streams`; host names need `type: STRICT_DNS` |
| `admin.address` | 127.0.0.1:9901 | another loopback port, or `{"pipe": {"path": …, "mode": 384}}` |
| `proto_descriptor` of the filter `envoy.filters.http.grpc_json_transcoder` | deploy/envoy/image.binpb | its \
real path |
| `allow_origin_string_match` of `envoy.filters.http.cors` in the virtual host's `typed_per_filter_config` | empty: no \
browser of another origin | `{"exact": origin}` each |

`GET /healthz` answers 200 when every cluster has a healthy endpoint, else 503, and 503 while Envoy drains. Graceful
stop: `POST /drain_listeners?graceful` on the admin address, then SIGTERM once the drain time has passed.
"""

from __future__ import annotations

from tools.contract import DEFAULT_REQUEST_BYTES, Contract
from tools.envoy_replies import mappers
from tools.envoy_routes import Json, clusters, largest_body, routes

TYPE = "type.googleapis.com/envoy.extensions"
IMAGE = "deploy/envoy/image.binpb"
MEBIBYTE = 1 << 20
MAX_RESPONSE_BODY = 16 * MEBIBYTE

CORS_REQUEST_HEADERS = (
    "authorization",
    "content-type",
    "grpc-timeout",
    "last-event-id",
    "traceparent",
    "tracestate",
    "x-api-key",
    "x-grpc-web",
    "x-user-agent",
)
CORS_RESPONSE_HEADERS = (
    "content-disposition",
    "grpc-message",
    "grpc-status",
    "grpc-status-details-bin",
    "retry-after",
    "x-request-id",
)


def config(contract: Contract) -> Json:
    """The configuration of the edge, ready for `json.dumps`. Raises ContractError when nothing can be routed."""
    return {
        "node": {"id": "plinth-edge", "cluster": "plinth"},
        "admin": {"address": _address(9901)},
        "static_resources": {"listeners": [_listener(contract)], "clusters": clusters(contract)},
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": f"{TYPE}.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                        "max_active_downstream_connections": "20000",
                    },
                }
            ]
        },
    }


def _address(port: int) -> Json:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _listener(contract: Contract) -> Json:
    manager = {
        "@type": f"{TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "codec_type": "AUTO",
        "server_name": "plinth",
        # Clients connect to the edge itself: their address is the connection's; their x-envoy-… headers are dropped.
        "use_remote_address": True,
        # Nobody is internal, wherever from: without a range of its own, Envoy trusts every private address.
        "internal_address_config": {"cidr_ranges": [{"address_prefix": "255.255.255.255", "prefix_len": 32}]},
        "always_set_request_id_in_response": True,
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "max_request_headers_kb": 32,
        "request_headers_timeout": "10s",
        "stream_idle_timeout": "60s",
        "drain_timeout": "5s",
        "common_http_protocol_options": {
            "idle_timeout": "3600s",
            "max_headers_count": 100,
            "headers_with_underscores_action": "REJECT_REQUEST",
        },
        "http2_protocol_options": {
            "max_concurrent_streams": 1000,
            "initial_stream_window_size": MEBIBYTE,
            "initial_connection_window_size": 4 * MEBIBYTE,
            # Finds the watcher whose machine vanished.
            "connection_keepalive": {"interval": "30s", "timeout": "10s"},
        },
        "local_reply_config": {"mappers": mappers()},
        "route_config": {"name": "edge", "virtual_hosts": [_virtual_host(contract)], "validate_clusters": False},
        "http_filters": [
            _health(contract),
            {"name": "envoy.filters.http.cors", "typed_config": {"@type": f"{TYPE}.filters.http.cors.v3.Cors"}},
            {
                "name": "envoy.filters.http.grpc_web",
                "typed_config": {"@type": f"{TYPE}.filters.http.grpc_web.v3.GrpcWeb"},
            },
            {
                "name": "envoy.filters.http.header_mutation",
                "typed_config": {"@type": f"{TYPE}.filters.http.header_mutation.v3.HeaderMutation"},
            },
            {
                "name": "envoy.filters.http.buffer",
                "disabled": True,
                "typed_config": {
                    "@type": f"{TYPE}.filters.http.buffer.v3.Buffer",
                    "max_request_bytes": DEFAULT_REQUEST_BYTES,
                },
            },
            _transcoder(contract),
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{TYPE}.filters.http.router.v3.Router", "suppress_envoy_headers": True},
            },
        ],
    }
    return {
        "name": "edge",
        "address": _address(8080),
        "per_connection_buffer_limit_bytes": MEBIBYTE,
        "enable_reuse_port": False,
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }


def _virtual_host(contract: Contract) -> Json:
    cors = {
        "@type": f"{TYPE}.filters.http.cors.v3.CorsPolicy",
        "allow_origin_string_match": [],
        # Pages of the named origins may be signed in by cookie; the auth stage sees to the rest.
        "allow_credentials": True,
        "allow_methods": "GET, POST, PATCH, PUT, DELETE, OPTIONS",
        "allow_headers": ", ".join(CORS_REQUEST_HEADERS),
        "expose_headers": ", ".join(CORS_RESPONSE_HEADERS),
        "max_age": "600",
    }
    return {
        "name": "plinth",
        "domains": ["*"],
        "routes": routes(contract),
        "typed_per_filter_config": {"envoy.filters.http.cors": cors},
    }


def _health(contract: Contract) -> Json:
    return {
        "name": "envoy.filters.http.health_check",
        "typed_config": {
            "@type": f"{TYPE}.filters.http.health_check.v3.HealthCheck",
            "pass_through_mode": False,
            "cluster_min_healthy_percentages": {cluster["name"]: {"value": 1} for cluster in clusters(contract)},
            "headers": [{"name": ":path", "string_match": {"exact": "/healthz"}}],
        },
    }


def _transcoder(contract: Contract) -> Json:
    return {
        "name": "envoy.filters.http.grpc_json_transcoder",
        "typed_config": {
            "@type": f"{TYPE}.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
            "proto_descriptor": IMAGE,
            "services": sorted({method.service for method in contract.methods if method.bindings}),
            "convert_grpc_status": True,
            "print_options": {"always_print_primitive_fields": True},
            # Without it, an unknown path or query parameter ends as a 503.
            "request_validation_options": {"reject_unknown_method": True, "reject_unknown_query_parameters": True},
            # `…:nosuchverb` is an unknown path, not a resource of that name.
            "match_unregistered_custom_verb": True,
            # As browsers and URLSearchParams write a space.
            "query_param_unescape_plus": True,
            # The buffer before it has the limit of each route.
            "max_request_body_size": largest_body(contract),
            "max_response_body_size": MAX_RESPONSE_BODY,
        },
    }
