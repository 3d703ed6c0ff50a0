"""The whole way over stores that are not a plain directory: an encrypted one, and a bucket that may be away."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
from pydantic import SecretStr

from plinth.documents.v1 import document_pb2
from plinth.search.v1 import hit_pb2
from services.documents.blobs.build import store_of
from services.documents.service import build_documents
from services.kernel.config import Settings
from services.runtime import open_runtime
from services.wiring import ALL_DOMAINS, Mesh
from services.worker import working
from tests.documents.blobs.stores import SECRET, bucket_server, client_of
from tests.documents.ingestion.conftest import new_works, served
from tests.documents.ingestion.workspace import IngestionWorkspace, Reason, State
from tests.documents.parsing.files import docx, paragraph
from tests.support.errors import refused
from tests.support.line import Line, line_to
from tests.support.waiting import until

pytestmark = [pytest.mark.xdist_group("ingestion")]

LEXICAL = hit_pb2.SEARCH_MODE_LEXICAL
# Parts that are not the last have at least so many bytes.
PART = 256 * 1024


@contextmanager
def works_on(
    settings: Settings, database: "psycopg.Connection[Any]", **store: object
) -> Iterator[tuple[IngestionWorkspace, "House"]]:
    """A workspace of a mesh whose blobs lie elsewhere."""
    with (
        open_runtime(settings.model_copy(update=store), "test") as runtime,
        Mesh(runtime, ALL_DOMAINS) as mesh,
        served(runtime, mesh) as people,
    ):
        yield new_works(people, database, runtime, mesh), House(runtime, mesh)


class House:
    """What works for it."""

    def __init__(self, runtime: Any, mesh: Mesh) -> None:
        self._runtime = runtime
        self._mesh = mesh

    def working(self) -> Any:  # a context manager
        """A worker, meanwhile."""
        return working(self._runtime, self._mesh, ["ingest"])

    def collect(self) -> None:
        """Delete what nothing refers to."""
        runtime = self._runtime
        store = store_of(runtime.settings, runtime.keyring)
        build_documents(runtime.resources, runtime.settings, runtime.pager, store).housekeeping.sweep(lambda: None)


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """`host:port` of a server with a bucket."""
    with bucket_server() as address:
        yield address


@pytest.fixture
def line(bucket: str) -> Iterator[Line]:
    """The way to it."""
    with line_to(bucket) as line:
        yield line


@pytest.fixture
def far(
    settings: Settings, owner_database: "psycopg.Connection[Any]", line: Line
) -> Iterator[tuple[IngestionWorkspace, House]]:
    """A workspace whose blobs lie in the bucket."""
    with works_on(
        settings,
        owner_database,
        blob_url="s3://blobs/far",
        blob_s3_endpoint=f"http://{line.address}",
        blob_s3_region="us-east-1",
        blob_s3_access_key="tests",
        blob_s3_secret_key=SecretStr(SECRET),
    ) as works:
        yield works


def in_parts(works: IngestionWorkspace, content: bytes, name: str) -> document_pb2.Document:
    """Upload it part by part."""
    upload = works.shelf.start(len(content), name=name)
    for offset in range(0, len(content), PART):
        works.shelf.append(upload, offset, content[offset : offset + PART])
    return works.shelf.finish(upload)


def two_parts_of(word: str) -> bytes:
    """A text that is longer than a part, and says the word at its end."""
    return b"\n\n".join([secrets.token_hex(20).encode()] * 8_000 + [word.encode()])


class TestEncrypted:
    def test_everything_can_be_read_and_searched_and_nothing_lies_in_the_open(
        self, settings: Settings, owner_database: "psycopg.Connection[Any]", tmp_path: Path
    ) -> None:
        text = two_parts_of("quicksilver")
        # Larger than a sealed segment, as its picture says nothing twice: an archive is read from its end.
        office = docx(paragraph("The heron waits."), parts={"word/media/image1.png": secrets.token_bytes(200_000)})
        with works_on(settings, owner_database, blob_url=tmp_path.as_uri(), blob_encrypt=True) as (works, house):
            documents = {
                in_parts(works, text, "long.txt").name: text,
                in_parts(works, office, "heron.docx").name: office,
                works.shelf.create(office, name="same.docx").name: office,
            }
            with house.working():
                for name in documents:
                    ended = works.ended(document_pb2.Document(name=name))
                    assert ended.state == State.INGESTION_STATE_INDEXED
            assert works.first_hit("quicksilver", LEXICAL) == "long.txt"
            assert works.first_hit("heron", LEXICAL) in ("heron.docx", "same.docx")
            for name, content in documents.items():
                assert works.shelf.read(document_pb2.Document(name=name)) == content
            files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
            # What was parsed lies there too, until it is collected.
            assert len(files) >= 2 * len(documents)
            assert {data[:6] for data in files} == {b"PLSEAL"}
            assert not any(b"quicksilver" in data or office[:40] in data for data in files)


class TestBucket:
    def test_a_file_goes_all_the_way_and_leaves_nothing(
        self, far: tuple[IngestionWorkspace, House], bucket: str
    ) -> None:
        (works, house), content = far, two_parts_of("vermilion")

        def keys() -> list[str]:
            listed = client_of(bucket).list_objects_v2(Bucket="blobs", Prefix=f"far/{works.shelf.workspace_id}")
            return [found["Key"] for found in listed.get("Contents", [])]

        document = in_parts(works, content, "far.txt")
        with house.working():
            assert works.ended(document).state == State.INGESTION_STATE_INDEXED
        assert works.first_hit("vermilion", LEXICAL) == "far.txt"
        assert works.shelf.read(document) == content
        house.collect()
        # The parts, and what was parsed, are gone.
        assert len(keys()) == 1
        works.shelf.delete(document)
        house.collect()
        assert keys() == []
        assert works.shelf.blobs() == {}

    def test_while_it_is_away_callers_hear_so_and_what_is_under_way_waits(
        self, far: tuple[IngestionWorkspace, House], line: Line
    ) -> None:
        works, house = far
        document = works.shelf.create(b"The kingfisher dives.", name="kingfisher.txt")
        line.cut()
        with refused(grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE") as refusal:
            works.shelf.create(b"Nobody takes this.")
        assert refusal.retry_seconds is not None
        with refused(grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE"):
            works.shelf.read(document)
        with house.working():
            until(
                lambda: works.get(document.ingestion).reason == Reason.INGESTION_REASON_DEPENDENCY_UNAVAILABLE,
                "an attempt that finds nothing",
            )
            line.mend()
            assert works.ended(document).state == State.INGESTION_STATE_INDEXED
        assert works.first_hit("kingfisher", LEXICAL) == "kingfisher.txt"
        assert works.shelf.read(document) == b"The kingfisher dives."
