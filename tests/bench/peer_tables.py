"""The peer's tables, of which the migrations of Plinth are the truth."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Text
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_TENANCY, _PROJECTS = {"schema": "tenancy"}, {"schema": "projects"}
_TYPES = {datetime: TIMESTAMP(timezone=True), list[str]: ARRAY(Text)}


class Base(DeclarativeBase):
    """All of them."""

    type_annotation_map = _TYPES


class Workspace(Base):
    """A workspace."""

    __tablename__ = "workspaces"
    __table_args__ = _TENANCY

    workspace_id: Mapped[UUID] = mapped_column(primary_key=True)
    display_name: Mapped[str]
    version: Mapped[int]
    create_time: Mapped[datetime]
    update_time: Mapped[datetime]
    delete_time: Mapped[datetime | None]


class Member(Base):
    """Who is in a workspace, and as what."""

    __tablename__ = "members"
    __table_args__ = _TENANCY

    workspace_id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    role: Mapped[str]


class Workflow(Base):
    """A workflow, as far as a transition asks for it."""

    __tablename__ = "workflows"
    __table_args__ = _PROJECTS

    workspace_id: Mapped[UUID] = mapped_column(primary_key=True)
    workflow_id: Mapped[UUID] = mapped_column(primary_key=True)
    definition_version: Mapped[int]


class Project(Base):
    """A project."""

    __tablename__ = "projects"
    __table_args__ = _PROJECTS

    workspace_id: Mapped[UUID] = mapped_column(primary_key=True)
    project_id: Mapped[UUID] = mapped_column(primary_key=True)
    workflow_id: Mapped[UUID]
    display_name: Mapped[str]
    description: Mapped[str]
    state: Mapped[str]
    state_category: Mapped[str]
    author_id: Mapped[UUID]
    assignee_id: Mapped[UUID | None]
    labels: Mapped[list[str]]
    due_time: Mapped[datetime | None]
    version: Mapped[int]
    create_time: Mapped[datetime]
    update_time: Mapped[datetime]
    delete_time: Mapped[datetime | None]
    purge_time: Mapped[datetime | None]


class Approval(Base):
    """An approval, as far as a transition asks for it."""

    __tablename__ = "approvals"
    __table_args__ = _PROJECTS

    workspace_id: Mapped[UUID] = mapped_column(primary_key=True)
    approval_id: Mapped[UUID] = mapped_column(primary_key=True)
    target_id: Mapped[UUID]
    state: Mapped[str]
