"""Office Open XML: a zip of XML parts and their relationships (ECMA-376, part 2)."""

import posixpath
from collections.abc import Iterator
from typing import BinaryIO
from zipfile import ZipFile

from lxml import etree

from services.documents.parsing.failures import ParseFailed, Reason
from services.documents.parsing.limits import MIB, Limits

# Below this no ratio is suspicious: a sheet of zeros deflates a thousand times.
_FREE_BYTES = 64 * MIB
_ENCRYPTED = 0x1


def open_zip(source: BinaryIO, limits: Limits) -> ZipFile:
    """A zip whose directory promises to stay within limits; a member never inflates to more than it promises.

    Raises ParseFailed, or BadZipFile.
    """
    size = source.seek(0, 2)
    archive = ZipFile(source)
    members = archive.infolist()
    if len(members) > limits.members:
        raise ParseFailed(Reason.TOO_LARGE, f"The file has more than {limits.members:,} parts.")
    inflated = sum(member.file_size for member in members)
    if inflated > limits.inflated_bytes:
        raise ParseFailed(Reason.TOO_LARGE, f"The file unpacks to more than {limits.inflated_bytes:,} bytes.")
    if inflated > _FREE_BYTES and inflated > size * limits.inflation:
        raise ParseFailed(Reason.TOO_LARGE, f"The file unpacks to more than {limits.inflation} times its size.")
    if any(member.flag_bits & _ENCRYPTED for member in members):
        raise ParseFailed(Reason.ENCRYPTED, "The document is protected by a password.")
    return archive


def local(element: etree._Element) -> str:
    """The name of an element without its namespace, which differs between the transitional and the strict dialect."""
    return str(element.tag).rpartition("}")[2]


def attribute(element: etree._Element, name: str) -> str:
    """An attribute by its local name, whatever its namespace; empty if it is missing."""
    return next((str(value) for key, value in element.attrib.items() if key.rpartition("}")[2] == name), "")


def children(element: etree._Element, *names: str) -> Iterator[etree._Element]:
    """The elements right below, by their local names."""
    return (child for child in element if local(child) in names)


def find(element: etree._Element, *path: str) -> etree._Element | None:
    """The first element along a path of local names."""
    found: etree._Element | None = element
    for name in path:
        found = next(children(found, name), None) if found is not None else None
    return found


class Package:
    """The parts of an Office document. Raises ParseFailed, and KeyError for a part that is missing."""

    def __init__(self, source: BinaryIO, limits: Limits) -> None:
        self._archive = open_zip(source, limits)
        self._names = set(self._archive.namelist())
        self.main = next((target for kind, target in self._relations("").values() if kind == "officeDocument"), "")

    def xml(self, part: str) -> etree._Element:
        """A part. It declares no entities (part 2, 8.1.4), and none that it has are expanded."""
        parser = etree.XMLParser(
            resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True
        )
        root = etree.fromstring(self._archive.read(part), parser)
        if root.getroottree().docinfo.doctype:
            raise ParseFailed(Reason.CORRUPT, "The file declares entities, which Office documents never do.")
        return root

    def optional(self, part: str) -> etree._Element | None:
        """A part that a document may go without."""
        return self.xml(part) if part in self._names else None

    def targets(self, part: str) -> dict[str, str]:
        """The parts that a part refers to, by the ids of its relationships."""
        return {identity: target for identity, (_, target) in self._relations(part).items()}

    def related(self, part: str, kind: str) -> etree._Element | None:
        """The first part of a kind that a part refers to."""
        target = next((target for one, target in self._relations(part).values() if one == kind), "")
        return self.optional(target)

    def _relations(self, part: str) -> dict[str, tuple[str, str]]:
        folder, file = posixpath.split(part)
        relations = self.optional(posixpath.join(folder, "_rels", f"{file}.rels"))
        return {
            one.get("Id", ""): (
                one.get("Type", "").rpartition("/")[2],
                posixpath.normpath(posixpath.join("/", folder, one.get("Target", "")))[1:],
            )
            for one in (relations if relations is not None else ())
            if one.get("TargetMode") != "External"
        }
