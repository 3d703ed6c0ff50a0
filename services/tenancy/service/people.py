"""Who the users are: identity knows, and is asked by stub, never while a unit of work is open."""

from collections.abc import Sequence
from uuid import UUID

from plinth.identity.v1 import user_pb2, user_service_pb2, user_service_pb2_grpc
from services.kernel.errors import EmailNotVerified
from services.kernel.names import USER
from services.tenancy.model.workspaces import Person

_BATCH = 500


class People:
    """Users, as identity tells of them."""

    def __init__(self, users: user_service_pb2_grpc.UserServiceStub) -> None:
        self._users = users

    def get(self, user_id: UUID) -> Person:
        """The user. Raises identity's NOT_FOUND for one whose account is gone."""
        answer = self._users.GetUser(user_service_pb2.GetUserRequest(name=USER.format(user=user_id)))
        return _person(answer.user)

    def verified(self, user_id: UUID) -> Person:
        """The user, who must have verified the e-mail address. Raises EmailNotVerified."""
        person = self.get(user_id)
        if not person.email_verified:
            raise EmailNotVerified
        return person

    def batch(self, user_ids: Sequence[UUID]) -> dict[UUID, Person]:
        """Those of the users whose accounts exist, however many."""
        found: dict[UUID, Person] = {}
        for start in range(0, len(user_ids), _BATCH):
            names = [USER.format(user=user_id) for user_id in user_ids[start : start + _BATCH]]
            answer = self._users.BatchGetUsers(user_service_pb2.BatchGetUsersRequest(names=names))
            found |= {person.user_id: person for person in map(_person, answer.users)}
        return found

    def with_email(self, email: str) -> Person | None:
        """The user who has proven that this address is theirs."""
        answer = self._users.FindUserByEmail(user_service_pb2.FindUserByEmailRequest(email=email))
        return _person(answer.user) if answer.HasField("user") else None


def _person(user: user_pb2.User) -> Person:
    return Person(USER.ids(user.name)[0], user.email, user.email_verified, user.display_name)
