"""A valid request for any method, out of its descriptor and the factories."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import protovalidate
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.message import Message

from interceptors.policy import Access, MethodPolicy
from services.kernel.etags import etag_of
from services.runtime import Runtime
from tests.contract.calls import METHODS, Client, Metadata, Outcome, bearer
from tests.contract.factories import REQUESTS, RESOURCES, Scene, new_scene
from tests.contract.fields import Leaf, leaves
from tests.support.people import People, Person

# Left unset in a valid request: they state what a test is about, or come from an answer.
_LEFT_OUT = ("request_id", "page_token", "etag")
_NO_SERVICE = "chain"
# The kinds of fields that hold a file, and what makes one out of its bytes.
_CONTENT: dict[str, Callable[[bytes], Any]] = {
    "bytes": bytes,
    "google.api.HttpBody": lambda data: HttpBody(content_type="text/plain", data=data),
}


@dataclass
class Prepared:
    """A call that succeeds if it is made as it stands."""

    policy: MethodPolicy
    scene: Scene
    request: Any  # a message of the policy's request class
    caller: Person
    credentials: Metadata

    def copied(self) -> "Prepared":
        """The same call with a request of its own."""
        request = self.policy.request_class()
        request.CopyFrom(self.request)
        return replace(self, request=request)


class Contract:
    """Prepares and makes calls of any method. `someone` is a person without a workspace."""

    def __init__(self, client: Client, people: People, runtime: Runtime) -> None:
        self.client = client
        self.people = people
        self.runtime = runtime
        self.someone = people.new("someone")
        self._validator = protovalidate.Validator()
        self._unmade: dict[str, Prepared] = {}

    def prepare(self, policy: MethodPolicy, scene: Scene | None = None, *, complete: bool = True) -> Prepared:
        """A valid call of the method, in a new workspace unless one is given.

        The factories of requests may change the scene (who undeletes must delete before): not without `complete`.
        """
        scene = scene or new_scene(self.people)
        request = policy.request_class()
        for leaf in leaves(policy):
            if self._fills(policy, leaf):
                value = self.value(leaf, request, scene)
                leaf.write(request, [value] if leaf.is_list else value)
        self._fill_etag(policy, request, scene)
        factory = REQUESTS.get(policy.request_class) if complete else None
        caller = (factory(scene, request) if factory is not None else None) or scene.owner
        return Prepared(policy, scene, request, caller, self.credentials(policy, caller))

    def unmade(self, policy: MethodPolicy) -> Prepared:
        """A valid call of the method in a workspace of its own, for who makes none but calls that change nothing.

        The tests share it; each has a copy of the request.
        """
        if policy.path not in self._unmade:
            self._unmade[policy.path] = self.prepare(policy)
        return self._unmade[policy.path].copied()

    def make(self, call: Prepared) -> Outcome:
        """Make the call."""
        return self.client.call(call.policy, call.request, call.credentials)

    def credentials(self, policy: MethodPolicy, person: Person) -> Metadata:
        """What lets the call in: the person's token, or one of a service where the method is internal."""
        if policy.access is Access.INTERNAL:
            return self.service_credentials(next(iter(policy.callers - {"*"}), _NO_SERVICE))
        return () if policy.access is Access.PUBLIC else bearer(person.access_token)

    def service_credentials(self, service: str) -> Metadata:
        """A service token of this mesh."""
        return bearer(self.runtime.tokens.issue(service))

    def value(self, leaf: Leaf, request: Message, scene: Scene) -> Any:
        """A valid value for a field: the name of a new resource, the first text that breaks no rule, or some bytes."""
        if leaf.resource:
            assert leaf.resource in RESOURCES, f"{leaf.field.full_name}: no factory makes a {leaf.resource}"
            return RESOURCES[leaf.resource](scene)
        fresh = secrets.token_hex(6)
        if leaf.kind in _CONTENT:
            return _CONTENT[leaf.kind](f"Words {fresh}.".encode())
        url = f"https://{fresh}.example.com/"
        for candidate in (f"Words {fresh}", "members.read", fresh, str(uuid4()), f"{fresh}@example.com", url):
            if self._fits(leaf, request, candidate):
                return candidate
        raise AssertionError(f"{leaf.field.full_name}: no candidate fits; give the request a factory")

    def other_value(self, leaf: Leaf, request: Message, scene: Scene) -> Any:
        """A valid text that is not the one in the request."""
        value = self.value(leaf, request, scene)
        return value if value != leaf.read(request) else value[::-1]

    def _fits(self, leaf: Leaf, request: Message, candidate: str) -> bool:
        trial = type(request)()
        trial.CopyFrom(request)
        leaf.write(trial, [candidate] if leaf.is_list else candidate)
        paths = (v.proto.field.elements for v in self._validator.collect_violations(trial) if v.proto.field is not None)
        return leaf.path not in [tuple(element.field_name for element in path) for path in paths]

    def _fills(self, policy: MethodPolicy, leaf: Leaf) -> bool:
        if leaf.kind in _CONTENT:
            # What an update leaves out stays.
            return not leaf.output_only and not policy.method.startswith("Update")
        if leaf.kind != "string" or leaf.output_only or leaf.field.name in _LEFT_OUT:
            return False
        named = leaf.path in [name.path for name in policy.names]
        # A resource's own name is in the request only where the path spells it out; filters stay open.
        is_own_name = len(leaf.path) > 1 and leaf.field.name == "name"
        wanted = leaf.required or bool(leaf.resource) or len(leaf.path) > 1
        return named or (not is_own_name and (wanted or not self._fits(leaf, policy.request_class(), "")))

    def _fill_etag(self, policy: MethodPolicy, request: Any, scene: Scene) -> None:
        """The etag of the resource that the call is about, asked of the Get method of its kind."""
        etag = etag_leaf(policy)
        if etag is None or not policy.names:
            return
        name = policy.names[0]
        for getter in METHODS:
            if getter.method.startswith("Get") and getter.names and getter.names[0].patterns == name.patterns:
                asked = getter.request_class()
                setattr(asked, getter.names[0].path[-1], name.read(request))
                answer = self.client.call(getter, asked, bearer(scene.owner.access_token)).response
                [(_, resource)] = answer.ListFields()
                etag.write(request, resource.etag)
                return
        raise AssertionError(f"{policy.full_name}: no Get method tells the etag of {name.patterns[0]}")


def etag_leaf(policy: MethodPolicy) -> Leaf | None:
    """The field that states which version a change is about; None where the method demands none."""
    if policy.read_only or policy.method.startswith("Create"):
        return None
    return next((leaf for leaf in leaves(policy) if leaf.field.name == "etag"), None)


STALE_ETAG = etag_of(10**9)
