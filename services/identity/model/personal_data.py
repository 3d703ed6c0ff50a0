"""All that identity holds about one person."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.identity.model.api_keys import ApiKey
from services.identity.model.links import Link
from services.identity.model.sessions import OwnSession
from services.identity.model.users import KnownSource, User


@dataclass(frozen=True, slots=True)
class PersonalData:
    """What an export holds: no secrets, no hashes."""

    user: User
    sessions: Sequence[OwnSession]
    api_keys: Sequence[ApiKey]
    known_sources: Sequence[KnownSource]
    links: Sequence[Link]
    export_time: datetime
