"""What Envoy says by itself (no such path, bad JSON, server away) in the words of the contract.

Whoever speaks REST gets a google.rpc.Status as JSON; whoever speaks gRPC gets the same details in their trailer. Each
has one ErrorInfo like every other error of Plinth, and a RetryInfo where another try may help.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from tools.envoy_routes import Json

DOMAIN = "plinth"
RETRY_SECONDS = 1
TOO_LARGE = 413
# Envoy's own text: names the offending field or path.
OWN_TEXT = "%LOCAL_REPLY_BODY%"


@dataclass(frozen=True, slots=True)
class Reply:
    """What an HTTP status of Envoy's means: google.rpc.Code by name, `ErrorInfo.reason`, message, and if to retry."""

    status: int
    code: str
    reason: str
    message: str
    retry: bool = False


# The message is ours where Envoy's tells of connections and upstreams.
REPLIES = (
    Reply(400, "INVALID_ARGUMENT", "FIELDS_INVALID", f"The request cannot be read. {OWN_TEXT}"),
    Reply(404, "NOT_FOUND", "NOT_FOUND", OWN_TEXT),
    Reply(408, "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", "The request did not arrive in time."),
    Reply(TOO_LARGE, "INVALID_ARGUMENT", "FIELDS_INVALID", "The request body is too large."),
    Reply(429, "RESOURCE_EXHAUSTED", "OVERLOADED", "Too many calls at once.", retry=True),
    Reply(431, "INVALID_ARGUMENT", "FIELDS_INVALID", "The request headers are too large."),
    Reply(500, "INTERNAL", "INTERNAL", "The answer cannot be written."),
    Reply(502, "UNAVAILABLE", "DEPENDENCY_UNAVAILABLE", "The service broke off.", retry=True),
    Reply(503, "UNAVAILABLE", "DEPENDENCY_UNAVAILABLE", "The service is not reachable.", retry=True),
    Reply(504, "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", "The call took longer than it may."),
)


def mappers() -> list[Json]:
    """The mappers of `local_reply_config`, first match first."""
    made = [_no_method()]
    for reply in REPLIES:
        comparison = {"op": "EQ", "value": {"default_value": reply.status, "runtime_key": f"plinth.{reply.status}"}}
        same_status: Json = {"status_code_filter": {"comparison": comparison}}
        headers = [_header("retry-after", str(RETRY_SECONDS))] if reply.retry else []
        made.append({"filter": _both(same_status, REST), "headers_to_add": headers, **_json_body(reply)})
        # gRPC's code follows from Envoy's own table, which agrees on UNAVAILABLE, and has none for a body too large;
        # else the details might contradict it.
        if reply.code == "UNAVAILABLE" or reply.status == TOO_LARGE:
            code = str(code_pb2.Code.Value(reply.code))
            grpc_headers = [*headers, _header("grpc-status", code), _header("grpc-status-details-bin", _details(reply))]
            message = {"body": {"inline_string": reply.message}}
            made.append({"filter": same_status, "headers_to_add": grpc_headers, **message})
    return made


def _any_of(*filters: Json) -> Json:
    return {"or_filter": {"filters": list(filters)}}


def _both(first: Json, second: Json) -> Json:
    return {"and_filter": {"filters": [first, second]}}


# A call that was transcoded carries gRPC's content type by then, and is told by the path that it had before.
REST: Json = _any_of(
    {"header_filter": {"header": {"name": "x-envoy-original-path", "present_match": True}}},
    {
        "header_filter": {
            "header": {
                "name": "content-type",
                "string_match": {"prefix": "application/grpc"},
                "invert_match": True,
                "treat_missing_header_as_empty": True,
            }
        }
    },
)


def _no_method() -> Json:
    """For the last route, which leads to no cluster; Envoy turns its 404 into UNIMPLEMENTED for gRPC."""
    return {
        "filter": {"response_flag_filter": {"flags": ["NC"]}},
        "body": {"inline_string": "No method answers at this path."},
    }


def _header(key: str, value: str) -> Json:
    return {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _json_body(reply: Reply) -> Json:
    kind = "type.googleapis.com/google.rpc"
    details: list[Json] = [{"@type": f"{kind}.ErrorInfo", "reason": reply.reason, "domain": DOMAIN, "metadata": {}}]
    if reply.retry:
        details.append({"@type": f"{kind}.RetryInfo", "retryDelay": f"{RETRY_SECONDS}s"})
    status = {"code": code_pb2.Code.Value(reply.code), "message": reply.message, "details": details}
    return {"body_format_override": {"json_format": status, "content_type": "application/json"}}


def _details(reply: Reply) -> str:
    """The same google.rpc.Status as gRPC carries it: serialized, base64 without padding."""
    status = Status(code=code_pb2.Code.Value(reply.code), message=reply.message)
    status.details.add().Pack(ErrorInfo(reason=reply.reason, domain=DOMAIN))
    if reply.retry:
        status.details.add().Pack(RetryInfo(retry_delay=Duration(seconds=RETRY_SECONDS)))
    return base64.b64encode(status.SerializeToString(deterministic=True)).decode().rstrip("=")
