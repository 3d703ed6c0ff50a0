"""Users as other services and operators see them."""

import uuid

import grpc
import pytest

from plinth.identity.v1 import user_service_pb2 as users
from services.kernel.errors import EmailNotVerified, ResourceNotFound
from services.kernel.feed import Invalidation
from services.wiring import Mesh
from tests.identity.island import Island
from tests.support.errors import refused
from tests.support.people import People
from tests.support.stubs import Stubs


class TestForOtherServices:
    def test_nobody_outside_may_ask(self, people: People) -> None:
        person = people.new()
        with refused(grpc.StatusCode.PERMISSION_DENIED, "METHOD_DENIED"):
            person.stubs.users.GetUser(users.GetUserRequest(name=person.name))

    def test_many_users_come_in_the_order_asked_without_those_that_are_gone(self, people: People, mesh: Mesh) -> None:
        first, second = people.new(), people.new()
        stub = Stubs(mesh.channel("tenancy", "identity")).users
        names = [second.name, f"users/{uuid.uuid4()}", first.name, second.name]
        found = stub.BatchGetUsers(users.BatchGetUsersRequest(names=names)).users
        assert [user.name for user in found] == [second.name, first.name]
        assert stub.GetUser(users.GetUserRequest(name=first.name)).user.email == first.email


class TestOperators:
    def test_a_proven_user_becomes_one_and_ceases_to_be_one(self, island: Island) -> None:
        person = island.new()
        operators, told = island.services.operators, list[Invalidation | None]()
        island.hub.subscribe(told.append)
        operators.add(person.user.email.upper())
        operators.add(person.user.email)
        assert [user.id for user in operators.list_all() if user.id == person.user.id] == [person.user.id]
        state = island.services.sessions.state(person.session.id)
        assert state is not None
        assert state.operator
        operators.remove(person.user.email)
        state = island.services.sessions.state(person.session.id)
        assert state is not None
        assert not state.operator
        assert len(told) == 2, "the chain forgets what it knew, once a change"
        assert island.audit(person.user.id)[-2:] == ["operator.added.v1", "operator.removed.v1"]

    def test_an_address_that_is_merely_claimed_makes_no_operator(self, island: Island) -> None:
        email = island.address()
        island.register(email)
        with pytest.raises(EmailNotVerified):
            island.services.operators.add(email)
        with pytest.raises(ResourceNotFound):
            island.services.operators.add(island.address())


def test_housekeeping_forgets_what_is_long_past(island: Island) -> None:
    person = island.new()
    with island.acting():
        island.services.passwords.start_reset(person.user.email)
    island.later(days=200)
    assert island.services.housekeeping.sweep() > 0
    left = island.owner.execute(
        "select (select count(*) from identity.links where user_id = %(user)s),"
        " (select count(*) from identity.sessions where user_id = %(user)s),"
        " (select count(*) from identity.known_sources where user_id = %(user)s)",
        {"user": person.user.id},
    )
    assert left.fetchone() == (0, 0, 0)
