"""Etags (AIP-154): optimistic locking by the version of a row."""

from services.kernel.errors import EtagMismatch, EtagRequired


def etag_of(version: int) -> str:
    """The etag of a row at this version: weak tags are not used, so no quotes."""
    return format(version, "x")


def check_etag(given: str, version: int, name: str) -> None:
    """Let pass only who read this very version. Raises EtagRequired or EtagMismatch."""
    if not given:
        raise EtagRequired(name)
    if given != etag_of(version):
        raise EtagMismatch(name)
