"""Stage `tenant`: which workspace the call is about. It stands in the resource's name and nowhere else."""

from urllib.parse import unquote

from google.protobuf.message import Message

from interceptors.call import Call
from interceptors.stages import Stage
from services.kernel.errors import NameInvalid, NameMismatch
from services.kernel.names import uuid_in

# What a REST call asked for, as the edge's transcoder passes it on.
_ORIGINAL_PATH = "x-envoy-original-path"


class Tenant(Stage):
    """Reads the names that the method's path spells out."""

    def enter(self, call: Call) -> None:
        """Raises NameInvalid for a name that does not parse, NameMismatch for one that does not go with the others."""
        if call.request is None:
            return
        self._hold_to_the_path(call, call.request)
        for name_field in call.policy.names:
            name = name_field.read(call.request)
            match = name_field.match(name)
            if match is None:
                raise NameInvalid(name_field.field, " or ".join(map(_form, name_field.patterns)))
            if "workspace" in match.re.groupindex:
                workspace_id = uuid_in(match["workspace"])
                if call.workspace_id not in (None, workspace_id):
                    raise NameMismatch(name_field.field, "must be in the workspace that the other names are in")
                call.workspace_id = workspace_id
                call.workspace_name = name

    @staticmethod
    def _hold_to_the_path(call: Call, request: Message) -> None:
        """A REST call is about what its URL names: the edge lets a field of the body or the query override that."""
        url = call.metadata.get(_ORIGINAL_PATH)
        if url is None:
            return
        path = unquote(url.partition("?")[0])
        named = {name_field.field: name_field for name_field in call.policy.names}
        for rest_path in call.policy.rest_paths:
            match = rest_path.regex.fullmatch(path)
            for field, value in zip(rest_path.fields, match.groups() if match else (), strict=False):
                if field in named and named[field].read(request) != value:
                    raise NameMismatch(field, "must be what the URL names")


def _form(pattern: str) -> str:
    """A path's pattern as names are shown: `workspaces/{uuid}/members/{uuid}`."""
    return pattern.replace("**", "…").replace("*", "{uuid}")
