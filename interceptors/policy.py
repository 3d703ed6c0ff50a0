"""What each method demands, read from the descriptors at start: the contract is the only place that says it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from google.api import annotations_pb2
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from buf.validate import validate_pb2
from plinth.options.v1 import policy_pb2

DEFAULT_TIMEOUT_SECONDS = 15.0
DEFAULT_REQUEST_BYTES = 4 << 20
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_PATH_VARIABLE = re.compile(r"\{([\w.]+)=([^}]+)\}")
_NAME_FIELDS = ("name", "parent")


class PolicyError(Exception):
    """A method states no policy, or half of one: the server must not start."""


class Access(Enum):
    """Whom a method lets in."""

    PERMISSION = "permission"
    AUTHENTICATED = "authenticated"
    PUBLIC = "public"
    INTERNAL = "internal"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class NameField:
    """A field of the request that must hold a resource name, e.g. `project.name` after one of `patterns`."""

    path: tuple[str, ...]
    patterns: tuple[str, ...]
    regexes: tuple[re.Pattern[str], ...]

    def read(self, request: Message) -> str:
        """The name in this request."""
        value: Any = request
        for part in self.path:
            value = getattr(value, part)
        return str(value)

    def match(self, name: str) -> re.Match[str] | None:
        """How the name fits one of the patterns, with its `workspace`; None where it fits none."""
        for regex in self.regexes:
            match = regex.fullmatch(name)
            if match is not None:
                return match
        return None

    @property
    def field(self) -> str:
        """The path as the client knows it."""
        return ".".join(self.path)


@dataclass(frozen=True, slots=True)
class RestPath:
    """A REST path of a method, and the fields that its variables fill, in order."""

    regex: re.Pattern[str]
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MethodPolicy:
    """Everything that the chain knows of a method. `timeout` is in seconds; None: a stream without an end."""

    full_name: str
    service: str
    method: str
    access: Access
    permission: str
    callers: frozenset[str]
    meter: str
    cost: int
    rate_class: str
    read_only: bool
    timeout: float | None
    max_request_bytes: int
    names: tuple[NameField, ...]
    rest_paths: tuple[RestPath, ...]
    has_request_id: bool
    has_cookie: bool
    request_streaming: bool
    response_streaming: bool
    request_class: type[Message]
    response_class: type[Message]

    @property
    def path(self) -> str:
        """As gRPC writes it: /plinth.tenancy.v1.WorkspaceService/GetWorkspace."""
        return f"/{self.service}/{self.method}"

    @property
    def transfers(self) -> bool:
        """Whether it streams something that has an end: how long it takes is up to its client."""
        return self.timeout is not None and (self.request_streaming or self.response_streaming)

    @property
    def downloads(self) -> bool:
        """Whether it transfers a file, which REST has as its body."""
        streamed = self.transfers and self.response_streaming
        return streamed and self.response_class.DESCRIPTOR.full_name == "google.api.HttpBody"


class PolicyTable(Mapping[str, MethodPolicy]):
    """The policies of every method of these services, by gRPC path. Raises PolicyError for a method without one."""

    def __init__(self, services: Iterable[ServiceDescriptor]) -> None:
        policies = [_policy_of(method) for service in services for method in service.methods]
        self._by_path = {policy.path: policy for policy in policies}

    @classmethod
    def of(cls, pool: DescriptorPool, service_names: Iterable[str]) -> "PolicyTable":
        """The policies of the services with these full names, found in the pool."""
        return cls(pool.FindServiceByName(name) for name in service_names)

    def __getitem__(self, path: str) -> MethodPolicy:
        return self._by_path[path]

    def __iter__(self) -> Any:  # Iterator[str]; Mapping's own annotation is generic
        return iter(self._by_path)

    def __len__(self) -> int:
        return len(self._by_path)

    @property
    def permissions(self) -> frozenset[str]:
        """Every permission that some method demands: the catalogue of which roles are made."""
        return frozenset(policy.permission for policy in self.values() if policy.permission)


def _policy_of(method: MethodDescriptor) -> MethodPolicy:
    options = method.GetOptions()
    if not options.HasExtension(policy_pb2.policy):
        raise PolicyError(f"{method.full_name} states no (plinth.options.v1.policy)")
    policy = options.Extensions[policy_pb2.policy]
    stated = policy.WhichOneof("access")
    if stated is None or (stated in ("public", "authenticated", "operator") and not getattr(policy, stated)):
        raise PolicyError(f"{method.full_name} does not say whom it lets in")
    if stated == "permission" and not policy.permission:
        raise PolicyError(f"{method.full_name} names an empty permission")
    names = _name_fields(method)
    if stated == "permission" and not any(name.patterns[0].startswith("workspaces/*") for name in names):
        raise PolicyError(f"{method.full_name} demands a permission, but names no workspace to hold it in")
    endless = method.server_streaming and method.name.startswith("Watch")
    timeout = policy.timeout.ToTimedelta().total_seconds() if policy.HasField("timeout") else DEFAULT_TIMEOUT_SECONDS
    rate_class = policy_pb2.RateClass.Name(policy.rate_class or policy_pb2.RATE_CLASS_STANDARD)
    return MethodPolicy(
        full_name=method.full_name,
        service=method.containing_service.full_name,
        method=method.name,
        access=Access(stated),
        permission=policy.permission,
        callers=frozenset(policy.internal.callers),
        meter=policy.meter,
        cost=policy.cost or 1,
        rate_class=rate_class.removeprefix("RATE_CLASS_").lower(),
        read_only=policy.read_only,
        timeout=None if endless else timeout,
        max_request_bytes=policy.max_request_bytes or DEFAULT_REQUEST_BYTES,
        names=names,
        rest_paths=_rest_paths(method),
        has_request_id="request_id" in method.input_type.fields_by_name,
        has_cookie="cookie" in method.input_type.fields_by_name,
        request_streaming=method.client_streaming,
        response_streaming=method.server_streaming,
        request_class=GetMessageClass(method.input_type),
        response_class=GetMessageClass(method.output_type),
    )


def _name_fields(method: MethodDescriptor) -> tuple[NameField, ...]:
    """The names that the REST path spells out; without one, the request's `name` or `parent`."""
    rule = method.GetOptions().Extensions[annotations_pb2.http]
    patterns: dict[str, list[str]] = {}
    rules: dict[str, str] = {}
    for template in _templates(method):
        for path, pattern in _PATH_VARIABLE.findall(template):
            patterns.setdefault(path, []).append(pattern)
    policy = method.GetOptions().Extensions[policy_pb2.policy]
    if not rule.WhichOneof("pattern") and policy.WhichOneof("access") in ("permission", "authenticated"):
        for field in _NAME_FIELDS:
            if field in method.input_type.fields_by_name:
                patterns[field] = ["workspaces/*", "workspaces/*/**"]
                rules[field] = (
                    method.input_type.fields_by_name[field].GetOptions().Extensions[validate_pb2.field].string.pattern
                )
    return tuple(
        NameField(
            tuple(path.split(".")),
            tuple(found),
            # Where no path spells the name out, the field's own rule says what a name is.
            tuple(re.compile(f"(?={rules.get(path, '')}){_regex(pattern)}") for pattern in found),
        )
        for path, found in patterns.items()
    )


def _templates(method: MethodDescriptor) -> list[str]:
    """The templates of the method's REST paths."""
    rule = method.GetOptions().Extensions[annotations_pb2.http]
    found = [getattr(one, one.WhichOneof("pattern") or "get") for one in (rule, *rule.additional_bindings)]
    return [template for template in found if template]


def _rest_paths(method: MethodDescriptor) -> tuple[RestPath, ...]:
    """The method's REST paths, for telling what the URL of a call named."""
    paths = []
    for template in _templates(method):
        fixed = _PATH_VARIABLE.split(template)
        # `split` answers text, variable, pattern, text, …
        regex = "".join(
            f"({_segments(part)})" if place % 3 == 2 else re.escape(part)
            for place, part in enumerate(fixed)
            if place % 3 != 1
        )
        paths.append(RestPath(re.compile(regex), tuple(fixed[1::3])))
    return tuple(paths)


def _regex(pattern: str) -> str:
    """A path template as a regular expression; the first id of a workspace's name must be a UUID."""
    if pattern.startswith("workspaces/*"):
        return rf"workspaces/(?P<workspace>{_UUID})" + _segments(pattern.removeprefix("workspaces/*"))
    return _segments(pattern)


def _segments(template: str) -> str:
    return re.escape(template).replace(r"\*\*", r".+").replace(r"\*", r"[^/]+")
