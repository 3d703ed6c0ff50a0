"""Stage `idempotency`: opens the claim of a call that carries a request_id, and hands it the answer's bytes."""

import hashlib
from contextlib import AbstractContextManager

from google.protobuf.message import Message

from interceptors.call import Call
from interceptors.policy import MethodPolicy
from interceptors.stages import Stage
from services.kernel.idempotency import NO_WORKSPACE, Claim, Key, claiming
from services.kernel.secrets import Keyring


class Idempotency(Stage):
    """The innermost stage: what it holds open, it closes before anything else of the call ends."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def concerns(self, policy: MethodPolicy) -> bool:
        """Whether its requests have a request_id."""
        return policy.has_request_id

    def enter(self, call: Call) -> None:
        """Open the claim."""
        request = call.request
        if request is None:
            return
        request_id: str = getattr(request, "request_id")  # noqa: B009  # a field of every such request
        if not request_id or call.principal.user_id is None:
            return
        key = Key(call.principal.name, call.workspace_id or NO_WORKSPACE, call.policy.path, request_id)
        payload_hash = hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
        claim = Claim(key, payload_hash, self._keyring)
        scope: AbstractContextManager[None] = claiming(claim)
        scope.__enter__()
        call.extras["claim"] = claim, scope

    def answer(self, call: Call, response: Message) -> None:
        """Commit the effect and the answer together."""
        if "claim" in call.extras:
            claim, _ = call.extras["claim"]
            claim.answered(response.SerializeToString())

    def leave(self, call: Call) -> None:
        """Close the claim; what was not committed is rolled back."""
        if "claim" in call.extras:
            _, scope = call.extras.pop("claim")
            scope.__exit__(None, None, None)
