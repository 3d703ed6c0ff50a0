"""Schemathesis calls every operation of the OpenAPI document through the edge, with what fits and what does not.

No answer is a fault of ours (5xx), and each is one that the document describes: status, content type, schema. The
caller owns a workspace that exists; whether a request is about that one, or about an invented one, is left to chance.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings, strategies
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Err
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.e2e.conftest import Edge
from tests.support.people import Person

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e")]

DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi.json"
EXAMPLES = 8
CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)


class Tenant:
    """Somebody with a workspace, replaced by somebody else when a call has ended the session."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._owner, self._workspace = edge.new_workspace()
        self.calls = 0

    def credentials(self) -> dict[str, str]:
        """As headers."""
        return {"authorization": f"Bearer {self._owner.access_token}"}

    def fill_in(self, parameters: dict[str, Any]) -> None:
        """Put what really exists into every other request's path."""
        self.calls += 1
        if self.calls % 2:
            real = {"workspace": self._workspace.split("/")[1], "member": str(self._owner.user_id), "role": "viewer"}
            parameters.update({name: value for name, value in real.items() if name in parameters})

    def look_after(self) -> None:
        """Go on as somebody else, where need be."""
        if self._is_gone(self._owner):
            self._owner, self._workspace = self._edge.new_workspace()

    def _is_gone(self, owner: Person) -> bool:
        return self._edge.call("GET", f"/v1/{self._workspace}", person=owner).status_code != 200


@pytest.fixture(scope="session")
def tenant(whole: Edge) -> Iterator[Tenant]:
    made = Tenant(whole)
    yield made
    assert made.calls > 300


# Its parameters are of Schemathesis's own types.
Operation = APIOperation[Any, Any, Any, Any]


def _operations() -> Iterator[Operation]:
    # A stream of events says at once that it is connected, and then nothing more for a long time.
    config = schemathesis.Config.from_dict({"max-stream-events": 1})
    for found in schemathesis.openapi.from_path(DOCUMENT, config=config).get_all_operations():
        if isinstance(found, Err):
            raise found.err()
        yield found.ok()


OPERATIONS = list(_operations())


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
@given(data=strategies.data())
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_one_that_the_document_describes(
    operation: Operation, whole: Edge, tenant: Tenant, data: strategies.DataObject
) -> None:
    mode = data.draw(strategies.sampled_from(GenerationMode))
    case = data.draw(operation.as_strategy(generation_mode=mode))
    tenant.fill_in(case.path_parameters)
    response = case.call(base_url=whole.mesh.edge_url, headers=tenant.credentials())
    case.validate_response(response, checks=list(CHECKS))
    if response.status_code == 401 or case.method != "GET":
        tenant.look_after()
