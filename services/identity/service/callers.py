"""Who calls, where a method is for people."""

from uuid import UUID

from services.identity.errors import SessionRequired
from services.kernel.caller import current_caller


def calling_session() -> UUID:
    """The session that the call came with. Raises SessionRequired for a key."""
    session_id = current_caller().session_id
    if session_id is None:
        raise SessionRequired
    return session_id
