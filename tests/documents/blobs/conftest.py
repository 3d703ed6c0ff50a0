"""The stores as they are used: a directory, a bucket of moto's server, and both encrypted."""

from collections.abc import Iterator
from uuid import uuid4

import hypothesis
import pytest

from services.documents.blobs.local import LocalBlobs
from services.documents.blobs.port import BlobStore
from services.documents.blobs.s3 import S3Blobs
from services.documents.blobs.sealed import Sealed
from tests.documents.blobs.stores import KEYRING, bucket_at, bucket_server

# How long an example takes says nothing where other tests share the machine.
hypothesis.settings.register_profile("shared", deadline=None)
hypothesis.settings.load_profile("shared")


@pytest.fixture(scope="session")
def moto_address() -> Iterator[str]:
    """`host:port` of a server that speaks S3's protocol, with the bucket `blobs`."""
    with bucket_server() as address:
        yield address


@pytest.fixture(scope="module", params=["directory", "bucket", "sealed directory", "sealed bucket"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> BlobStore:
    """Each store, one after the other."""
    inner: BlobStore
    if "bucket" in request.param:
        inner = S3Blobs(bucket_at(request.getfixturevalue("moto_address"), prefix=f"tests/{uuid4()}"))
    else:
        inner = LocalBlobs(tmp_path_factory.mktemp("blobs"))
    return Sealed(inner, KEYRING) if "sealed" in request.param else inner
