"""REST paths of OpenAPI: google.api.http templates taken apart into path parameters, query parameters and bodies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from tools.contract import HTTP_BODY, Binding, Contract, ContractError, Method, extension, parse_options
from tools.envoy_routes import Json
from tools.openapi_rules import portable, rules
from tools.openapi_schemas import WELL_KNOWN, Schemas

RESOURCE = "google.api.resource"
UUID = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
# A path is seldom deeper; a message that contains itself would never end.
MAX_QUERY_DEPTH = 3
_VARIABLE = re.compile(r"\{([a-zA-Z0-9_.]+)(?:=([^}]+))?\}")


@dataclass(frozen=True, slots=True)
class PathTemplate:
    """A template in OpenAPI's form, its parameters, and the fields (dotted) that the path sets."""

    path: str
    parameters: tuple[Json, ...]
    fields: frozenset[str]


def field_at(message: Descriptor, dotted: str, method: Method) -> FieldDescriptor:
    """The field that a dotted path of a binding names. Raises ContractError when there is none."""
    field: FieldDescriptor | None = None
    inside: Descriptor | None = message
    for part in dotted.split("."):
        field = inside.fields_by_name.get(part) if inside is not None else None
        if field is None:
            raise ContractError(f"{method.full_name} binds `{dotted}`, which {message.full_name} does not have.")
        inside = field.message_type
    assert field is not None  # noqa: S101 - split() gives one part at least
    return field


def path_template(method: Method, binding: Binding, contract: Contract) -> PathTemplate:
    """Expands `{name=workspaces/*}` to `workspaces/{workspace}`; the field's rule gives the pattern of each id."""
    parameters: list[Json] = []
    fields: set[str] = set()

    def expand(match: re.Match[str]) -> str:
        dotted, pattern = match[1], match[2] or "*"
        field = field_at(method.descriptor.input_type, dotted, method)
        fields.add(dotted)
        segments = pattern.split("/")
        names = _variables(segments, field, contract)
        patterns = _segment_patterns(field, segments, contract)
        out = []
        for segment, name, regex in zip(segments, names, patterns, strict=True):
            if name is None:
                out.append(segment)
                continue
            schema: Json = {"type": "string", "pattern": regex}
            parameters.append({"name": name, "in": "path", "required": True, "schema": schema})
            out.append(f"{{{name}}}")
        return "/".join(out)

    path = _VARIABLE.sub(expand, binding.path)
    return PathTemplate(path, tuple(parameters), frozenset(fields))


def _variables(segments: list[str], field: FieldDescriptor, contract: Contract) -> list[str | None]:
    """A name for each wildcard: the resource pattern's own, or else the singular of the collection before it."""
    if segments == ["*"]:
        return [field.json_name]
    known = _resource_variables(contract).get("/".join(segments), [])
    given = iter(known)
    names: list[str | None] = []
    for index, segment in enumerate(segments):
        if segment not in ("*", "**"):
            names.append(None)
            continue
        collection = segments[index - 1] if index else field.json_name
        singular = re.sub(r"ies$", "y", collection) if collection.endswith("ies") else collection.removesuffix("s")
        names.append(_camel(next(given, singular)))
    return names


def _resource_variables(contract: Contract) -> dict[str, list[str]]:
    """The variables of every google.api.resource pattern, by its template: `workspaces/*` → [`workspace`]."""
    found: dict[str, list[str]] = {}
    for method in contract.methods:
        for message in (method.descriptor.input_type, method.descriptor.output_type):
            for descriptor in _within(message):
                options = parse_options(contract.pool, "MessageOptions", descriptor.GetOptions().SerializeToString())
                resource = extension(contract.pool, options, RESOURCE)
                for pattern in resource.pattern if resource is not None else ():
                    template = re.sub(r"\{[^}]+\}", "*", pattern)
                    found.setdefault(template, re.findall(r"\{([^}]+)\}", pattern))
    return found


def _within(message: Descriptor) -> Iterator[Descriptor]:
    """A message and those of its direct fields, which is where resources stand."""
    yield message
    for field in message.fields:
        if field.message_type is not None:
            yield field.message_type


def _segment_patterns(field: FieldDescriptor, segments: list[str], contract: Contract) -> list[str]:
    """A pattern for each segment, cut out of the field's `string.pattern`; without a fitting one, a UUID for ids."""
    found = rules(field, contract)
    whole = portable(found.string.pattern) if found is not None and found.WhichOneof("type") == "string" else ""
    parts = _split(whole.removeprefix("^").removesuffix("$"))
    if whole.startswith("^") and whole.endswith("$") and len(parts) == len(segments):
        return [f"^{part}$" for part in parts]
    return [UUID if len(segments) > 1 else "^[^/]+$"] * len(segments)


def _split(pattern: str) -> list[str]:
    """Splits a regular expression at the slashes that stand outside brackets and groups."""
    parts, depth, bracket, escaped = [""], 0, False, False
    for character in pattern:
        if character == "/" and not depth and not bracket and not escaped:
            parts.append("")
            continue
        parts[-1] += character
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif bracket:
            bracket = character != "]"
        elif character == "[":
            bracket = True
        else:
            depth += {"(": 1, ")": -1}.get(character, 0)
    return parts


def query_parameters(method: Method, binding: Binding, template: PathTemplate, schemas: Schemas) -> list[Json]:
    """What is bound by neither path nor body. With `body: "*"` there is nothing left."""
    if binding.body == "*":
        return []
    bound = template.fields | ({binding.body} if binding.body else set())
    return list(_leaves(method.descriptor.input_type, "", "", bound, schemas, required=True, depth=0))


def _leaves(
    message: Descriptor, dotted: str, shown: str, bound: frozenset[str], schemas: Schemas, *, required: bool, depth: int
) -> Iterator[Json]:
    for field in message.fields:
        name, key = dotted + field.name, shown + field.json_name
        if name in bound:
            continue
        inside = field.message_type
        needed = required and schemas.required(field)
        if inside is None or (inside.full_name in WELL_KNOWN and not field.is_repeated):
            schema = schemas.field(field)
            text = schema.pop("description", "")
            schema.pop("writeOnly", None)
            yield {"name": key, "in": "query", "required": needed, "schema": schema} | (
                {"description": text} if text else {}
            )
        elif not field.is_repeated and depth < MAX_QUERY_DEPTH:
            # The transcoder takes the fields of a message one by one, by dotted names; maps and lists of messages not.
            yield from _leaves(inside, f"{name}.", f"{key}.", bound, schemas, required=needed, depth=depth + 1)


def body(method: Method, binding: Binding, template: PathTemplate, schemas: Schemas) -> Json | None:
    """The `requestBody`, or None for a method without one."""
    if not binding.body:
        return None
    message = method.descriptor.input_type
    raw = message if binding.body == "*" else field_at(message, binding.body, method).message_type
    if raw is not None and raw.full_name == HTTP_BODY:
        return _bytes(method, binding, schemas)
    if binding.body == "*":
        top = frozenset(name for name in template.fields if "." not in name)
        schema = schemas.object(message, without=top)
        needed = bool(schema.get("required"))
    else:
        field = field_at(message, binding.body, method)
        if field.message_type is None:
            schema, needed = schemas.field(field), schemas.required(field)
        else:
            schema = schemas.message(field.message_type, partial=binding.verb == "PATCH")
            needed = schemas.required(field)
    return {"required": needed, "content": {"application/json": {"schema": schema}}}


def _bytes(method: Method, binding: Binding, schemas: Schemas) -> Json:
    """A body of bytes of any type, as long as the method takes; a stream has no bound of its own."""
    schema: Json = {"type": "string", "format": "binary"}
    if not method.client_streaming:
        schema["maxLength"] = method.max_request_bytes
    made: Json = {"required": True, "content": {"*/*": {"schema": schema}}}
    if binding.body != "*" and (text := schemas.comment(f"{method.descriptor.input_type.full_name}.{binding.body}")):
        made["description"] = text
    return made


def _camel(name: str) -> str:
    return re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), name)
