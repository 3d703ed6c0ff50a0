"""The use cases of identity, and how they are put together."""

from dataclasses import dataclass

from plinth.tenancy.v1 import member_service_pb2_grpc
from services.identity.repository import IdentityRepositories
from services.identity.service.api_keys import ApiKeys
from services.identity.service.credentials import Credentials
from services.identity.service.directory import Directory, Operators
from services.identity.service.email_change import EmailChange
from services.identity.service.hashing import PasswordHashes
from services.identity.service.housekeeping import Housekeeping
from services.identity.service.links import Links
from services.identity.service.mails import Mails
from services.identity.service.passwords import Passwords
from services.identity.service.profile import Profile
from services.identity.service.registration import Registration
from services.identity.service.sessions import Sessions
from services.identity.service.sign_in import SignIn
from services.identity.service.signing_keys import SigningKeys
from services.identity.service.throttling import Throttle
from services.kernel.clock import Clock
from services.kernel.config import Settings
from services.kernel.paging import Pager
from services.kernel.secrets import Keyring
from services.kernel.unit_of_work import Resources, Units

__all__ = ["IdentityServices", "build_identity"]


@dataclass(frozen=True, slots=True)
class IdentityServices:
    """Every use case of identity."""

    registration: Registration
    sign_in: SignIn
    passwords: Passwords
    email_change: EmailChange
    profile: Profile
    sessions: Sessions
    api_keys: ApiKeys
    signing_keys: SigningKeys
    directory: Directory
    operators: Operators
    housekeeping: Housekeeping
    units: Units[IdentityRepositories]


def build_identity(
    resources: Resources,
    settings: Settings,
    keyring: Keyring,
    pager: Pager,
    members: member_service_pb2_grpc.MemberServiceStub,
) -> IdentityServices:
    """Put the use cases together; `members` is the stub of tenancy, wherever that runs."""
    clock: Clock = resources.clock
    units = Units(resources, "identity", IdentityRepositories)
    hashes = PasswordHashes(settings)
    throttle = Throttle(units, keyring)
    credentials = Credentials(units, clock, hashes, throttle)
    links, mails = Links(units, clock), Mails(settings.public_url)
    signing_keys = SigningKeys(units, clock, keyring, settings)
    return IdentityServices(
        registration=Registration(units, clock, hashes, throttle, links, mails),
        sign_in=SignIn(units, clock, keyring, credentials, signing_keys, settings),
        passwords=Passwords(units, clock, hashes, throttle, credentials, links, mails),
        email_change=EmailChange(units, clock, throttle, credentials, links, mails),
        profile=Profile(units, clock, members, mails),
        sessions=Sessions(units, clock, pager),
        api_keys=ApiKeys(units, clock, pager),
        signing_keys=signing_keys,
        directory=Directory(units),
        operators=Operators(units, clock),
        housekeeping=Housekeeping(units, clock, keyring),
        units=units,
    )
