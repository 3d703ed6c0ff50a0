"""Resource names after AIP-122: `workspaces/{workspace}/members/{member}`."""

import re
from functools import lru_cache
from uuid import UUID

from services.kernel.errors import NameInvalid

_VARIABLE = re.compile(r"\{(\w+)\}")
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_WORD = r"[A-Za-z0-9_-]{1,64}"


@lru_cache(maxsize=10_000)
def uuid_in(text: str) -> UUID:
    """The UUID of that text, which has the form of one: of the ids in names, most come again at once."""
    return UUID(text)


class ResourceName:
    """One pattern of resource name, that formats and parses.

    Variables hold lower-case UUIDs, unless `words` lists them (built-in roles are named by a word).
    """

    def __init__(self, pattern: str, *, words: frozenset[str] = frozenset()) -> None:
        self.pattern = pattern
        self._regex = re.compile(
            _VARIABLE.sub(lambda m: f"(?P<{m[1]}>{_WORD if m[1] in words else _UUID})", re.sub(r"\.", r"\\.", pattern))
        )

    def format(self, **values: UUID | str) -> str:
        """The name with these values in it."""
        return self.pattern.format(**values)

    def parse(self, name: str, *, field: str = "name") -> dict[str, str]:
        """The values in `name`, by variable. Raises NameInvalid, which blames `field`."""
        match = self._regex.fullmatch(name)
        if match is None:
            raise NameInvalid(field, self.pattern)
        return match.groupdict()

    def ids(self, name: str, *, field: str = "name") -> tuple[UUID, ...]:
        """The UUIDs in `name`, in the pattern's order. Raises NameInvalid, which blames `field`."""
        return tuple(uuid_in(value) for value in self.parse(name, field=field).values())


WORKSPACE = ResourceName("workspaces/{workspace}")
USER = ResourceName("users/{user}")
API_KEY = ResourceName("workspaces/{workspace}/apiKeys/{api_key}")
