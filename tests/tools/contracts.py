"""The text of tiny contracts in package plinth.pets.v1."""

from __future__ import annotations

MESSAGES = """
// A pet.
message Pet { string name = 1; }
message GetPetRequest { string name = 1; }
"""


def method(name: str, options: str, *, returns: str = "Pet", takes: str = "GetPetRequest") -> str:
    """One rpc of a service."""
    return f"  // {name}s.\n  rpc {name}({takes}) returns ({returns}) {{\n{options}\n  }}\n"


def service(*methods: str, name: str = "PetService") -> str:
    """A service of these methods, and the messages that they take and give."""
    return f"service {name} {{\n{''.join(methods)}}}\n"


def policy(text: str) -> str:
    """The option that states a policy."""
    return f"    option (plinth.options.v1.policy) = {{ {text} }};"


def http(text: str) -> str:
    """The option that states a REST form."""
    return f"    option (google.api.http) = {{ {text} }};"
