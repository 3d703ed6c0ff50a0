"""Which store the settings make."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from services.documents.blobs.build import store_of
from services.documents.blobs.port import BlobStore, check
from services.kernel.config import ConfigError, Settings
from tests.documents.blobs.stores import KEYRING, SECRET, new_key, text_of
from tests.support.settings import settings_for_tests


def chosen(data_dir: Path, **about_blobs: Any) -> Settings:
    """What somebody has set about blobs."""
    about_bucket = {"blob_s3_region": "us-east-1", "blob_s3_access_key": "tests", "blob_s3_secret_key": SECRET}
    return settings_for_tests("postgresql://", data_dir=data_dir, **(about_bucket | about_blobs))


def works(store: BlobStore) -> str:
    check(store)
    key = new_key()
    store.write(key, [b"text"])
    assert text_of(store, key) == b"text"
    return key


class TestPlace:
    def test_the_data_directory_where_nothing_is_said(self, tmp_path: Path) -> None:
        key = works(store_of(chosen(tmp_path), KEYRING))
        assert (tmp_path / "blobs" / key).read_bytes() == b"text"

    def test_another_directory(self, tmp_path: Path) -> None:
        place = tmp_path / "large disk"
        key = works(store_of(chosen(tmp_path, blob_url=place.as_uri()), KEYRING))
        assert (place / key).read_bytes() == b"text"

    def test_a_bucket(self, tmp_path: Path, moto_address: str) -> None:
        works(
            store_of(chosen(tmp_path, blob_url="s3://blobs/docs", blob_s3_endpoint=f"http://{moto_address}"), KEYRING)
        )
        assert list(tmp_path.iterdir()) == []

    def test_encrypted(self, tmp_path: Path) -> None:
        key = works(store_of(chosen(tmp_path, blob_encrypt=True), KEYRING))
        assert b"text" not in (tmp_path / "blobs" / key).read_bytes()

    @pytest.mark.parametrize("url", ["ftp://host/blobs", "blobs", "s3:///prefix", "file://host/blobs", "file:///"])
    def test_anything_else_is_refused_by_name(self, tmp_path: Path, url: str) -> None:
        with pytest.raises(ConfigError, match="PLINTH_BLOB_URL"):
            store_of(chosen(tmp_path, blob_url=url), KEYRING)

    def test_half_of_the_credentials_is_refused_by_name(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="PLINTH_BLOB_S3_SECRET_KEY") as refused:
            store_of(chosen(tmp_path, blob_url="s3://blobs", blob_s3_access_key=""), KEYRING)
        assert SECRET not in str(refused.value)


def test_who_has_no_bucket_does_not_wait_for_its_client_to_load() -> None:
    program = "import sys, services.documents.blobs.build; sys.exit('boto3' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
