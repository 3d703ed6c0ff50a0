"""Stage `tenant`: which workspace the call is about. It stands in the resource's name and nowhere else."""

from uuid import UUID

from interceptors.call import Call
from interceptors.stages import Stage
from services.kernel.errors import NameInvalid


class Tenant(Stage):
    """Reads the names that the method's path spells out."""

    def enter(self, call: Call) -> None:
        """Raises NameInvalid for a name that does not parse, or that is of another workspace than the one before."""
        if call.request is None:
            return
        for name_field in call.policy.names:
            name = name_field.read(call.request)
            match = name_field.match(name)
            if match is None:
                raise NameInvalid(name_field.field, " or ".join(name_field.patterns))
            workspace = match.groupdict().get("workspace")
            if workspace is not None:
                if call.workspace_id not in (None, UUID(workspace)):
                    raise NameInvalid(name_field.field, "the workspace that the other names are in")
                call.workspace_id = UUID(workspace)
                call.workspace_name = name
