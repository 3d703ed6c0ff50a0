"""People and keys in one workspace who each lack one permission."""

from functools import cache
from typing import Any

import jwt

from interceptors.policy import Access, MethodPolicy
from plinth.identity.v1 import api_key_pb2, api_key_service_pb2
from plinth.tenancy.v1 import invite_pb2, invite_service_pb2, role_pb2, role_service_pb2
from services.wiring import Mesh
from tests.contract.calls import POLICIES, Metadata, bearer
from tests.contract.factories import Scene
from tests.support.people import Person

# No custom role holds it.
OWN = "workspace.own"


class Crowd:
    """Whoever may do everything but one thing, in one workspace. Each comes to be when first asked for."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.member_without = cache(self._member_without)
        self.key_without = cache(self._key_without)

    def without(self, policy: MethodPolicy) -> dict[str, Metadata]:
        """Credentials that lack what the method demands, by what they are."""
        permission = policy.permission
        if policy.access is Access.PERMISSION:
            return {
                "a member": bearer(self.member_without(permission).access_token),
                "a key": bearer(self.key_without(permission)),
            }
        return {"the owner": bearer(self.scene.owner.access_token), "a key": bearer(self.key_without(""))}

    def full_key(self) -> str:
        """A key that may do whatever its creator, the owner, may."""
        return self.key_without("")

    def revoked_key(self) -> str:
        """A key that was revoked."""
        key, secret = self._new_key(sorted(POLICIES.permissions))
        self.scene.owner.stubs.api_keys.RevokeApiKey(api_key_service_pb2.RevokeApiKeyRequest(name=key.name))
        return secret

    def _member_without(self, permission: str) -> Person:
        """A member with a custom role that holds everything but this (and what no custom role may hold)."""
        owner, workspace = self.scene.owner, self.scene.workspace
        others = sorted(POLICIES.permissions - {permission, OWN})
        role = role_pb2.Role(display_name=f"All but {permission}", permissions=others)
        created = owner.stubs.roles.CreateRole(role_service_pb2.CreateRoleRequest(parent=workspace, role=role))
        person = self.scene.people.new()
        invite = invite_pb2.Invite(email=person.email, role=created.role.name)
        owner.stubs.invites.CreateInvite(invite_service_pb2.CreateInviteRequest(parent=workspace, invite=invite))
        accept = invite_service_pb2.AcceptInviteRequest(token=self.scene.link(person.email))
        person.stubs.invites.AcceptInvite(accept)
        return person

    def _key_without(self, permission: str) -> str:
        """A key of the owner that may do everything but this."""
        return self._new_key(sorted(POLICIES.permissions - {permission}))[1]

    def _new_key(self, permissions: list[str]) -> tuple[api_key_pb2.ApiKey, str]:
        key = api_key_pb2.ApiKey(display_name="Made for a test", permissions=permissions)
        request = api_key_service_pb2.CreateApiKeyRequest(parent=self.scene.workspace, api_key=key)
        created = self.scene.owner.stubs.api_keys.CreateApiKey(request)
        return created.api_key, created.secret


def signed(mesh: Mesh, claims: dict[str, Any]) -> str:
    """These claims, signed with the very key that identity signs with."""
    [identity] = [domain for domain in mesh.served if domain.package == "plinth.identity.v1"]
    signer = identity._services.signing_keys.signer()  # type: ignore[attr-defined]  # the test goes inside
    return jwt.encode(claims, signer.private_key, "ES256", {"kid": signer.kid})
