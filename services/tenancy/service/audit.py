"""Use cases of AuditService."""

from collections.abc import Iterator
from uuid import UUID

from services.kernel.caller import current_caller
from services.kernel.paging import Pager
from services.tenancy.model.audit import AuditEvent, AuditFilter
from services.tenancy.service.authority import TenancyUnits

_CHUNK = 500


class AuditService:
    """What was done in a workspace."""

    def __init__(self, units: TenancyUnits, pager: Pager) -> None:
        self._units = units
        self._pager = pager

    def list_events(
        self, workspace_id: UUID, wanted: AuditFilter, page_size: int, page_token: str
    ) -> tuple[list[AuditEvent], str]:
        """A page of events, newest first, and the token of the next. Raises PageTokenInvalid."""
        page = self._pager.page(page_token, page_size, "ListAuditEvents", str(workspace_id), *wanted.key)
        found = self._shown(workspace_id, wanted, page.after_id(), page.count)
        return self._pager.cut(page, found, lambda event: (event.id,))

    def export(self, workspace_id: UUID, wanted: AuditFilter) -> Iterator[list[AuditEvent]]:
        """Every event that there is now, newest first, in chunks; at least one, which may be empty.

        Each chunk is a unit of work of its own: a slow reader holds no connection.
        """
        after: UUID | None = None
        while True:
            found = self._shown(workspace_id, wanted, after, _CHUNK)
            yield found
            if len(found) < _CHUNK:
                return
            after = found[-1].id

    def _shown(self, workspace_id: UUID, wanted: AuditFilter, after: UUID | None, count: int) -> list[AuditEvent]:
        owner = current_caller().require_grant().owner
        with self._units() as uow:
            found = uow.repo.audit.list_newest(workspace_id, wanted, after, count)
        return [event.shown(to_owner=owner) for event in found]
