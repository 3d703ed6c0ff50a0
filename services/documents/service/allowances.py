"""What a workspace may store, as whoever sells it says."""

from typing import Protocol
from uuid import UUID

from services.documents.model.allowance import Allowance


class Allowances(Protocol):
    """Knows what each workspace may store."""

    def of(self, workspace_id: UUID) -> Allowance:
        """The bounds of a workspace."""
        ...


class SameForAll:
    """Those of a mesh without plans: the ones of the settings, for every workspace."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance

    def of(self, workspace_id: UUID) -> Allowance:
        """See Allowances."""
        del workspace_id
        return self._allowance
