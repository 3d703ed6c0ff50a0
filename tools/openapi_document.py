"""The OpenAPI 3.1 document of everything that has a REST form: operations, errors, who may call."""

from __future__ import annotations

import re

from google.protobuf.descriptor import Descriptor

from tools.contract import HTTP_BODY, Access, Binding, Contract, ContractError, Method
from tools.envoy_routes import Json
from tools.openapi_paths import PathTemplate, body, field_at, path_template, query_parameters
from tools.openapi_schemas import Schemas, component_name, received

VERSION = "3.1.0"
REASONS = "plinth.errors.v1.ErrorReason"
REASON_PREFIX = "ERROR_REASON_"

# Statuses that an error can arrive with, as Envoy maps gRPC's codes, and what they mean here.
ERRORS = {
    "400": "A field, a page token or the resource's state does not allow it (INVALID_ARGUMENT, FAILED_PRECONDITION).",
    "401": "No credentials, or none that count (UNAUTHENTICATED).",
    "403": "The caller's role lacks the permission (PERMISSION_DENIED).",
    "404": "Nothing of that name exists for this caller (NOT_FOUND).",
    "409": "It exists already, or it changed meanwhile: read it again (ALREADY_EXISTS, ABORTED).",
    "413": "The body is too large (INVALID_ARGUMENT).",
    "429": "Too many calls; `Retry-After` says when to come back (RESOURCE_EXHAUSTED).",
    "500": "A fault of Plinth; the metadata's `error_id` finds it in the log (INTERNAL).",
    "503": "A part that the call needs is away or has no room; `Retry-After` says when to come back (UNAVAILABLE).",
    "504": "The call took longer than it may (DEADLINE_EXCEEDED).",
}
RETRIED = ("409", "429", "503")
BEARER: Json = {"bearer": []}
API_KEY: Json = {"apiKey": []}
COOKIE: Json = {"cookie": []}
LAST_EVENT_ID: Json = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "The last `id` received. A browser's EventSource sends it by itself when it connects again.",
}


def document(contract: Contract) -> Json:
    """The whole document, ready for `json.dumps`. Raises ContractError when two methods share a verb and path."""
    schemas = Schemas(contract, received(contract))
    paths: dict[str, Json] = {}
    for method in contract.methods:
        for number, binding in enumerate(method.bindings):
            template = path_template(method, binding, contract)
            item = paths.setdefault(template.path, {})
            if binding.verb.lower() in item:
                raise ContractError(f"{method.full_name} has a path that is taken: {binding.verb} {template.path}.")
            item[binding.verb.lower()] = _operation(method, number, binding, template, schemas)
    components = {
        "schemas": dict(sorted((schemas.components | _error_schemas(contract)).items())),
        "responses": {status: _error(text, status in RETRIED) for status, text in ERRORS.items()}
        | {"default": _error("Any other error.", retried=False)},
        "securitySchemes": {
            "bearer": {
                "type": "http",
                "scheme": "bearer",
                "description": "An access token of SignIn or Refresh, or an API key (`plk_…`).",
            },
            "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "An API key (`plk_…`)."},
            "cookie": {
                "type": "apiKey",
                "in": "cookie",
                "name": "__Host-plinth",
                "description": "Set by SignIn and Refresh with `cookie`, for pages of the product's own origin.",
            },
        },
    }
    return {
        "openapi": VERSION,
        "info": {
            "title": "Plinth",
            "version": "v1",
            "description": "The REST form of Plinth's contract, as Envoy transcodes it to gRPC. Generated.",
        },
        "servers": [{"url": "/"}],
        "tags": _tags(contract),
        "paths": dict(sorted(paths.items())),
        "components": components,
    }


def _tags(contract: Contract) -> list[Json]:
    names = sorted({method.service for method in contract.methods if method.bindings})
    return [{"name": _tag(name), "description": contract.comments.get(name, "")} for name in names]


def _tag(service: str) -> str:
    """`plinth.tenancy.v1.MemberService` → `tenancy.MemberService`."""
    parts = service.split(".")
    return f"{parts[1]}.{parts[-1]}"


def _operation(method: Method, number: int, binding: Binding, template: PathTemplate, schemas: Schemas) -> Json:
    summary, _, rest = method.comment.partition("\n\n")
    first, _, more = " ".join(summary.split()).partition(". ")
    text = [more, rest.strip(), _demand(method)]
    made: Json = {
        "operationId": f"{_tag(method.service)}.{method.descriptor.name}" + (f".{number + 1}" if number else ""),
        "tags": [_tag(method.service)],
        "summary": first.removesuffix("."),
        "description": "\n\n".join(filter(None, text)),
        "security": _security(method, template),
    }
    parameters = [*template.parameters, *query_parameters(method, binding, template, schemas)]
    if method.sends_events:
        parameters.append(LAST_EVENT_ID)
    if parameters:
        made["parameters"] = parameters
    if (request := body(method, binding, template, schemas)) is not None:
        made["requestBody"] = request
    made["responses"] = {"200": _answer(method, binding, schemas)} | {
        status: {"$ref": f"#/components/responses/{status}"} for status in _statuses(method, binding, template)
    }
    if reasons := _reasons(method):
        made["x-plinth-reasons"] = reasons
    return made


def _reasons(method: Method) -> list[str]:
    """The reasons that a comment lists after `Errors:`."""
    return re.findall(r"[A-Z][A-Z0-9_]{2,}", method.comment.partition("Errors:")[2])


def _demand(method: Method) -> str:
    return {
        Access.PUBLIC: "Access: anyone.",
        Access.AUTHENTICATED: "Access: any signed-in user; where the path names a workspace, a member of it.",
        Access.PERMISSION: f"Access: `{method.permission}` in the workspace.",
        Access.OPERATOR: "Access: operators of the instance.",
        Access.INTERNAL: "",
    }[method.access]


def _security(method: Method, template: PathTemplate) -> list[Json]:
    """API keys belong to one workspace, so they open only what names one."""
    if method.access is Access.PUBLIC:
        return []
    in_workspace = "/workspaces/{" in template.path
    keyed = [API_KEY] if in_workspace and method.access is not Access.OPERATOR else []
    return [BEARER, *keyed, COOKIE]


def _statuses(method: Method, binding: Binding, template: PathTemplate) -> list[str]:
    """The error statuses that a method can answer with, in order."""
    found = {"400", "429", "500", "503", "504"}
    if method.access is not Access.PUBLIC:
        found |= {"401", "403"}
    if template.parameters or "NOT_FOUND" in _reasons(method):
        found.add("404")
    if not method.read_only:
        found.add("409")
    if binding.body:
        found.add("413")
    return [*sorted(found), "default"]


def _answer(method: Method, binding: Binding, schemas: Schemas) -> Json:
    output: Descriptor = method.descriptor.output_type
    if output.full_name == HTTP_BODY:
        text = "Server-Sent Events." if method.sends_events else "The bytes, in a type of their own."
        kind = "text/event-stream" if method.sends_events else "*/*"
        # Whatever it is: OpenAPI 3.1 gives the body of another type than JSON no schema.
        return {"description": text, "content": {kind: {}}}
    text = schemas.comment(output.full_name) or "Done."
    if binding.response_body:
        schema = schemas.field(field_at(output, binding.response_body, method))
    else:
        schema = schemas.message(output)
    if method.server_streaming:
        # The transcoder collects a stream of messages into one array.
        schema = {"type": "array", "items": schema}
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _error(text: str, retried: bool) -> Json:
    made: Json = {
        "description": text,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/google.rpc.Status"}}},
    }
    if retried:
        seconds = {"type": "string", "pattern": "^[0-9]+$"}
        made["headers"] = {
            "Retry-After": {"description": "Seconds to wait, where another try may help.", "schema": seconds}
        }
    return made


def _error_schemas(contract: Contract) -> dict[str, Json]:
    """google.rpc.Status and the details that errors of Plinth carry."""
    text: Json = {"type": "string"}
    reason: Json = {"type": "string", "description": "See error_reason.proto."}
    try:
        values = contract.pool.FindEnumTypeByName(REASONS).values
    except KeyError:
        pass
    else:
        reason["enum"] = [value.name.removeprefix(REASON_PREFIX) for value in values if value.number]
    violation = {"type": "object", "properties": {"field": text, "description": text, "reason": text}}
    subject = {"type": "object", "properties": {"type": text, "subject": text, "description": text}}
    info = {"reason": reason, "domain": text, "metadata": {"type": "object", "additionalProperties": text}}
    details = {
        "ErrorInfo": _detail("ErrorInfo", info, ["reason", "domain"]),
        "BadRequest": _detail("BadRequest", {"fieldViolations": {"type": "array", "items": violation}}, []),
        "RetryInfo": _detail("RetryInfo", {"retryDelay": {"type": "string", "pattern": r"^[0-9.]+s$"}}, []),
        "QuotaFailure": _detail("QuotaFailure", {"violations": {"type": "array", "items": subject}}, []),
        "PreconditionFailure": _detail("PreconditionFailure", {"violations": {"type": "array", "items": subject}}, []),
    }
    made = {component_name(f"google.rpc.{name}"): schema for name, schema in details.items()}
    made["google.rpc.Status"] = {
        "type": "object",
        "description": "An error: gRPC's code, a message for people, and details for programs; one is an ErrorInfo.",
        "properties": {
            "code": {"type": "integer", "description": "google.rpc.Code.", "minimum": 1, "maximum": 16},
            "message": text,
            "details": {
                "type": "array",
                "items": {"anyOf": [{"$ref": f"#/components/schemas/google.rpc.{name}"} for name in details]},
            },
        },
        "required": ["code", "message"],
    }
    return made


def _detail(name: str, properties: Json, required: list[str]) -> Json:
    kind = {"const": f"type.googleapis.com/google.rpc.{name}"}
    return {"type": "object", "properties": {"@type": kind, **properties}, "required": ["@type", *required]}
