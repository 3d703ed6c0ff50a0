"""What the generators read out of a descriptor set: services, methods, their policies and REST bindings.

Nothing generated is imported: options are read by name from the pool that the request itself fills, so the contract can
change in any way and still be read. A method whose policy says nothing, or contradicts itself, fails generation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FileDescriptorProto,
    MethodDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool

# Options are messages of classes that exist only in the request's pool, so there is no type to name.
Options = Any

POLICY = "plinth.options.v1.policy"
HTTP = "google.api.http"
HTTP_BODY = "google.api.HttpBody"
DEFAULT_TIMEOUT = timedelta(seconds=15)
# gRPC's own bound for one message; what is larger travels in pieces, or says so.
DEFAULT_REQUEST_BYTES = 4 << 20
# What a server takes, as its settings have it by default.
LARGEST_REQUEST_BYTES = 16 << 20
PERMISSION = re.compile(r"[a-z][a-z_]*\.[a-z][a-z_]*")

# Numbers of the fields of descriptor.proto, which is how source locations name their place.
_FILE_MESSAGE, _FILE_ENUM, _FILE_SERVICE = 4, 5, 6
_MESSAGE_FIELD, _MESSAGE_NESTED, _MESSAGE_ENUM = 2, 3, 4
_ENUM_VALUE = _SERVICE_METHOD = 2


class ContractError(Exception):
    """The contract says something that cannot be generated from; the message names the method and what to do."""


class Access(StrEnum):
    """Who may call a method: the five kinds of `plinth.options.v1.Policy.access`."""

    PERMISSION = "permission"
    AUTHENTICATED = "authenticated"
    PUBLIC = "public"
    INTERNAL = "internal"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Binding:
    """One REST form of a method: `verb` in capitals, the path template of google.api.http, and its body fields."""

    verb: str
    path: str
    body: str
    response_body: str


@dataclass(frozen=True, slots=True)
class Method:
    """A method as its contract states it. `timeout` is None for a `Watch…`, which may stay open."""

    descriptor: MethodDescriptor
    domain: str
    comment: str
    access: Access
    permission: str
    read_only: bool
    timeout: timedelta | None
    max_request_bytes: int
    client_streaming: bool
    server_streaming: bool
    bindings: tuple[Binding, ...]

    @property
    def service(self) -> str:
        """The full name of the service."""
        return str(self.descriptor.containing_service.full_name)

    @property
    def full_name(self) -> str:
        """`package.Service.Method`."""
        return str(self.descriptor.full_name)

    @property
    def path(self) -> str:
        """The path of the method on the wire."""
        return f"/{self.service}/{self.descriptor.name}"

    @property
    def watches(self) -> bool:
        """Whether it is served by the streams process."""
        return str(self.descriptor.name).startswith("Watch")

    @property
    def sends_events(self) -> bool:
        """Whether it is the twin of a `Watch…` that speaks Server-Sent Events to browsers."""
        return self.watches and str(self.descriptor.name).endswith("Sse")

    @property
    def uploads(self) -> bool:
        """Whether the body of its REST form is passed on as it comes, however long it is."""
        return self.client_streaming and bool(self.bindings)

    @property
    def downloads(self) -> bool:
        """Whether it answers REST with bytes of any type, and not with JSON."""
        return self.descriptor.output_type.full_name == HTTP_BODY and not self.sends_events

    @property
    def internal(self) -> bool:
        """Whether only services of the mesh may call it."""
        return self.access is Access.INTERNAL


@dataclass(frozen=True, slots=True)
class Contract:
    """The pool with every file, the comments by full name, and the methods in order of their paths."""

    pool: DescriptorPool
    comments: dict[str, str]
    services: tuple[str, ...]
    methods: tuple[Method, ...]


def parse_options(pool: DescriptorPool, kind: str, serialized: bytes) -> Options:
    """Parses options as the pool's own `google.protobuf.<kind>`, which is what knows the pool's extensions."""
    made = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"google.protobuf.{kind}"))()
    made.ParseFromString(serialized)
    return made


def extension(pool: DescriptorPool, options: Options, name: str) -> Options | None:
    """The extension of that full name, or None when it is not set, or no file of the pool declares it."""
    try:
        handle = pool.FindExtensionByName(name)
    except KeyError:
        return None
    if handle.is_repeated:
        return list(options.Extensions[handle])
    return options.Extensions[handle] if options.HasExtension(handle) else None


def read(files: Iterable[FileDescriptorProto], to_generate: Iterable[str]) -> Contract:
    """Reads the contract. `files` are in order of dependency, as protoc and buf hand them to a plugin.

    Raises ContractError, which lists every fault at once.
    """
    pool = DescriptorPool()
    comments: dict[str, str] = {}
    protos = {file.name: file for file in files}
    for file in protos.values():
        pool.AddSerializedFile(file.SerializeToString())
        comments.update(_comments(file))
    methods: list[Method] = []
    services: list[str] = []
    faults: list[str] = []
    for name in to_generate:
        descriptor = pool.FindFileByName(name)
        for service_proto in protos[name].service:
            service = pool.FindServiceByName(f"{descriptor.package}.{service_proto.name}")
            services.append(service.full_name)
            for method_proto in service_proto.method:
                method = service.methods_by_name[method_proto.name]
                try:
                    methods.append(_method(pool, descriptor, method, method_proto, comments))
                except ContractError as fault:
                    faults.append(str(fault))
    if faults:
        raise ContractError("\n".join(faults))
    ordered = tuple(sorted(methods, key=lambda method: method.path))
    return Contract(pool, comments, tuple(sorted(services)), ordered)


def _method(
    pool: DescriptorPool,
    file: FileDescriptor,
    descriptor: MethodDescriptor,
    proto: MethodDescriptorProto,
    comments: dict[str, str],
) -> Method:
    name = descriptor.full_name
    options = parse_options(pool, "MethodOptions", proto.options.SerializeToString())
    policy = extension(pool, options, POLICY)
    if policy is None:
        raise ContractError(f"{name} has no policy: add `option ({POLICY})`.")
    access = _access(name, policy)
    bindings = tuple(_bindings(extension(pool, options, HTTP)))
    if access is Access.INTERNAL and bindings:
        raise ContractError(f"{name} is internal and has a REST path: take one of them away.")
    watches = descriptor.name.startswith("Watch")
    if watches and not proto.server_streaming:
        raise ContractError(f"{name} is named Watch…, which the streams process serves, but is no server stream.")
    if descriptor.name.startswith("Watch") and descriptor.name.endswith("Sse"):
        _check_twin(descriptor)
    if proto.client_streaming:
        _check_client_stream(descriptor, bindings)
    if not 0 <= policy.max_request_bytes <= LARGEST_REQUEST_BYTES:
        raise ContractError(f"{name} lets in {policy.max_request_bytes} bytes: no server takes that.")
    stated = policy.timeout.ToTimedelta() if policy.HasField("timeout") else None
    if stated is not None and stated <= timedelta(0):
        raise ContractError(f"{name} has a timeout of {stated.total_seconds():g} s: it must be positive.")
    return Method(
        descriptor=descriptor,
        domain=file.package.split(".")[1],
        comment=comments.get(name, ""),
        access=access,
        permission=policy.permission,
        read_only=policy.read_only,
        timeout=None if watches else stated or DEFAULT_TIMEOUT,
        max_request_bytes=policy.max_request_bytes or DEFAULT_REQUEST_BYTES,
        client_streaming=proto.client_streaming,
        server_streaming=proto.server_streaming,
        bindings=bindings,
    )


def _check_twin(sse: MethodDescriptor) -> None:
    """A `Watch…Sse` is a `Watch…` over again for browsers, which read nothing but text/event-stream."""
    if sse.output_type.full_name != HTTP_BODY:
        raise ContractError(f"{sse.full_name} is named …Sse, and does not answer {HTTP_BODY}.")
    if str(sse.name).removesuffix("Sse") not in sse.containing_service.methods_by_name:
        raise ContractError(f"{sse.full_name} has no twin for gRPC: add {str(sse.name).removesuffix('Sse')}.")


def _check_client_stream(descriptor: MethodDescriptor, bindings: tuple[Binding, ...]) -> None:
    """Over REST a client stream is one body of any length, and the streams process has no use for it."""
    if descriptor.name.startswith("Watch"):
        raise ContractError(f"{descriptor.full_name} is named Watch…, and takes a stream.")
    for binding in bindings:
        field = descriptor.input_type.fields_by_name.get(binding.body)
        if field is None or field.message_type is None or field.message_type.full_name != HTTP_BODY:
            raise ContractError(f"{descriptor.full_name} takes a stream: bind a field of type {HTTP_BODY} as its body.")


def _access(name: str, policy: Options) -> Access:
    """The one access that a policy states, else ContractError."""
    chosen = policy.WhichOneof("access")
    if chosen is None:
        raise ContractError(f"{name} has a policy without access: state exactly one of {', '.join(Access)}.")
    value = getattr(policy, chosen)
    # `public: false` sets the oneof and grants nothing: whoever wrote it meant something else.
    if value is False:
        raise ContractError(f"{name} states `{chosen}: false`, which is no access: state who may call it.")
    if chosen == Access.PERMISSION and not PERMISSION.fullmatch(value):
        raise ContractError(f'{name} names permission "{value}", which is not of the form "projects.write".')
    if chosen == Access.INTERNAL and not value.callers:
        raise ContractError(f"{name} is internal and lists no callers.")
    return Access(chosen)


def _bindings(rule: Options | None) -> Iterator[Binding]:
    """The REST forms of a google.api.HttpRule, the main one first."""
    if rule is None:
        return
    pattern = rule.WhichOneof("pattern")
    if pattern == "custom":
        verb, path = rule.custom.kind.upper(), rule.custom.path
    else:
        verb, path = str(pattern).upper(), getattr(rule, str(pattern))
    yield Binding(verb, path, rule.body, rule.response_body)
    for further in rule.additional_bindings:
        yield from _bindings(further)


def _comments(file: FileDescriptorProto) -> dict[str, str]:
    """The leading comments of a file by the full name of what they stand above."""
    by_path = {
        tuple(location.path): location.leading_comments.strip()
        for location in file.source_code_info.location
        if location.leading_comments
    }
    return {
        name: "\n".join(line.strip() for line in by_path[path].splitlines())
        for path, name in _places(file)
        if path in by_path
    }


def _places(file: FileDescriptorProto) -> Iterator[tuple[tuple[int, ...], str]]:
    """The path and full name of everything in a file that can carry a comment."""
    pending: list[tuple[tuple[int, ...], str, DescriptorProto]] = [
        ((_FILE_MESSAGE, i), f"{file.package}.{m.name}", m) for i, m in enumerate(file.message_type)
    ]
    enums: list[tuple[tuple[int, ...], str, EnumDescriptorProto]] = [
        ((_FILE_ENUM, i), f"{file.package}.{e.name}", e) for i, e in enumerate(file.enum_type)
    ]
    while pending:
        path, name, message = pending.pop()
        yield path, name
        for i, field in enumerate(message.field):
            yield (*path, _MESSAGE_FIELD, i), f"{name}.{field.name}"
        pending += [((*path, _MESSAGE_NESTED, i), f"{name}.{m.name}", m) for i, m in enumerate(message.nested_type)]
        enums += [((*path, _MESSAGE_ENUM, i), f"{name}.{e.name}", e) for i, e in enumerate(message.enum_type)]
    for path, name, enum in enums:
        yield path, name
        for i, value in enumerate(enum.value):
            yield (*path, _ENUM_VALUE, i), f"{name}.{value.name}"
    for i, service in enumerate(file.service):
        yield (_FILE_SERVICE, i), f"{file.package}.{service.name}"
        for j, method in enumerate(service.method):
            yield (_FILE_SERVICE, i, _SERVICE_METHOD, j), f"{file.package}.{service.name}.{method.name}"
