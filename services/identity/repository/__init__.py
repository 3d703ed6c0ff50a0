"""Every SQL statement of identity, one repository a subject."""

from services.identity.repository.api_keys import ApiKeyRepository
from services.identity.repository.links import LinkRepository
from services.identity.repository.sessions import SessionRepository
from services.identity.repository.signing_keys import SigningKeyRepository
from services.identity.repository.throttles import ThrottleRepository
from services.identity.repository.users import UserRepository
from services.kernel.db import Session


class IdentityRepositories:
    """The repositories of one unit of work."""

    def __init__(self, session: Session) -> None:
        self.users = UserRepository(session)
        self.links = LinkRepository(session)
        self.sessions = SessionRepository(session)
        self.throttles = ThrottleRepository(session)
        self.signing_keys = SigningKeyRepository(session)
        self.api_keys = ApiKeyRepository(session)
