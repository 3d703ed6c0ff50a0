"""Who may see a document, as columns and as a condition."""

from uuid import UUID

from sqlalchemy import Boolean, ColumnElement, Text, any_, bindparam, or_
from sqlalchemy.dialects.postgresql import UUID as UUID_TYPE

from services.documents.model.visibility import Viewer, Visibility, VisibilityKind
from services.documents.tables import documents

_t = documents.c

_viewer = bindparam("viewer", type_=UUID_TYPE())
# The same as `Viewer.sees`. To be run with `looking`.
SEEN: ColumnElement[bool] = or_(
    bindparam("sees_all", type_=Boolean()),
    _t.visibility == VisibilityKind.EVERYONE.value,
    _t.author_id == _viewer,
    bindparam("role", type_=Text()) == any_(_t.visible_roles),
    _viewer == any_(_t.visible_members),
)


def looking(viewer: Viewer) -> dict[str, object]:
    """The parameters of SEEN."""
    return {"viewer": viewer.user_id, "role": viewer.role, "sees_all": viewer.sees_all}


def columns_of(visibility: Visibility | None) -> dict[str, object]:
    """The columns that hold it."""
    return {
        "visibility": visibility.kind.value if visibility is not None else None,
        "visible_roles": list(visibility.roles) if visibility is not None else [],
        "visible_members": list(visibility.members) if visibility is not None else [],
    }


def visibility_of(visibility: str, visible_roles: list[str], visible_members: list[UUID]) -> Visibility:
    """What `columns_of` wrote."""
    return Visibility(VisibilityKind(visibility), tuple(visible_roles), tuple(visible_members))
