"""The stores as they are used: a directory, a bucket of moto's server, and both encrypted."""

import logging
from collections.abc import Iterator
from uuid import uuid4

import boto3
import hypothesis
import pytest
from moto.server import ThreadedMotoServer

from services.documents.blobs.local import LocalBlobs
from services.documents.blobs.port import BlobStore
from services.documents.blobs.s3 import S3Blobs
from services.documents.blobs.sealed import Sealed
from tests.documents.blobs.stores import KEYRING, bucket_at

# How long an example takes says nothing where other tests share the machine.
hypothesis.settings.register_profile("shared", deadline=None)
hypothesis.settings.load_profile("shared")


@pytest.fixture(scope="session")
def moto_address() -> Iterator[str]:
    """`host:port` of a server that speaks S3's protocol, with the bucket `blobs`."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    bucket = bucket_at(f"{host}:{port}")
    boto3.client(
        "s3",
        endpoint_url=bucket.endpoint,
        region_name=bucket.region,
        aws_access_key_id=bucket.access_key,
        aws_secret_access_key=bucket.secret_key,
    ).create_bucket(Bucket=bucket.name)
    yield f"{host}:{port}"
    server.stop()


@pytest.fixture(scope="module", params=["directory", "bucket", "sealed directory", "sealed bucket"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> BlobStore:
    """Each store, one after the other."""
    inner: BlobStore
    if "bucket" in request.param:
        inner = S3Blobs(bucket_at(request.getfixturevalue("moto_address"), prefix=f"tests/{uuid4()}"))
    else:
        inner = LocalBlobs(tmp_path_factory.mktemp("blobs"))
    return Sealed(inner, KEYRING) if "sealed" in request.param else inner
