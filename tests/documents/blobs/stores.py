"""Keys, the tests' bucket, and a child that writes blobs until it is killed."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
from moto.server import ThreadedMotoServer

import services
from services.documents.blobs.port import BlobMissing, BlobStore, blob_key
from services.documents.blobs.s3 import Bucket
from services.kernel.secrets import Keyring, MasterKey

KEYRING = Keyring([MasterKey("2026", b"n" * 32)])
# What it looks like where a secret is shown that must not be.
SECRET = "not-to-be-shown"


def new_key() -> str:
    """The key of a blob that nobody has written yet."""
    return blob_key(uuid4(), uuid4())


def text_of(store: BlobStore, key: str) -> bytes:
    """All of the blob."""
    return b"".join(store.read(key))


def is_there(store: BlobStore, key: str) -> bool:
    """Whether there is a blob under the key."""
    try:
        with closing(store.read(key)) as chunks:
            next(chunks, None)
    except BlobMissing:
        return False
    return True


def bucket_at(address: str, prefix: str = "", name: str = "blobs") -> Bucket:
    """The tests' bucket, at this address."""
    return Bucket(name, prefix, f"http://{address}", "us-east-1", access_key="tests", secret_key=SECRET)


@contextmanager
def bucket_server() -> Iterator[str]:
    """`host:port` of a server that speaks S3's protocol, with the bucket `blobs`."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client_of(f"{host}:{port}").create_bucket(Bucket=bucket_at("").name)
    yield f"{host}:{port}"
    server.stop()


def client_of(address: str) -> Any:
    """What looks at the bucket from outside. It has no types of its own."""
    bucket = bucket_at(address)
    return boto3.client(
        "s3",
        endpoint_url=bucket.endpoint,
        region_name=bucket.region,
        aws_access_key_id=bucket.access_key,
        aws_secret_access_key=bucket.secret_key,
    )


@contextmanager
def writing_child(program: str, root: Path, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that runs the program with a store at the root as `store`; killed with SIGKILL in the end."""
    opening = (
        "import sys, uuid, hashlib, itertools\n"
        "from pathlib import Path\n"
        "from services.documents.blobs.local import LocalBlobs\n"
        "store = LocalBlobs(Path(sys.argv[1]))\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", opening + program, str(root), *arguments],
        cwd=Path(services.__path__[0]).parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        try:
            yield child
        finally:
            child.kill()
