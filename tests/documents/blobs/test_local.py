"""A directory of blobs: what a kill leaves, who may read, and a disk that is not there."""

import hashlib
import os
import stat
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from services.documents.blobs.local import LocalBlobs
from services.documents.blobs.port import BlobMissing, BlobStoreUnavailable, blob_key
from tests.documents.blobs.stores import is_there, new_key, text_of, writing_child
from tests.support.acting import at_once

# Half a blob, and then no more of it.
STALLS = """
def chunks():
    yield b"b" * 100_000
    print("half", flush=True)
    sys.stdin.read()
store.write(sys.argv[2], chunks())
"""
# One blob after the other, each of which tells by its name what is in it.
WRITES_ON = """
workspace = uuid.uuid4()
for count in itertools.count():
    blob_id = uuid.uuid4()
    line = hashlib.sha256(blob_id.bytes).digest() * 1024
    store.write(f"{workspace}/{blob_id}", [line] * 8)
    if count == 3:
        print("busy", flush=True)
"""


def partials(root: Path) -> list[Path]:
    return list((root / ".partial").iterdir())


class TestKill:
    def test_in_the_middle_of_a_write_leaves_what_was_there(self, tmp_path: Path) -> None:
        store, old, new = LocalBlobs(tmp_path), new_key(), new_key()
        store.write(old, [b"as it was"])
        for key in (old, new):
            with writing_child(STALLS, tmp_path, key) as child:
                assert child.stdout is not None
                assert child.stdout.readline() == "half\n"
        assert text_of(store, old) == b"as it was"
        assert not is_there(store, new)
        assert len(partials(tmp_path)) == 2

    def test_at_any_moment_leaves_only_whole_blobs(self, tmp_path: Path) -> None:
        for _ in range(5):
            with writing_child(WRITES_ON, tmp_path) as child:
                assert child.stdout is not None
                assert child.stdout.readline() == "busy\n"
        blobs = [path for path in tmp_path.glob("*/*") if path.parent.name != ".partial"]
        assert len(blobs) >= 20
        for path in blobs:
            assert path.read_bytes() == hashlib.sha256(UUID(path.name).bytes).digest() * 1024 * 8

    def test_what_it_leaves_is_removed_once_it_is_old(self, tmp_path: Path) -> None:
        store, key = LocalBlobs(tmp_path), new_key()
        with writing_child(STALLS, tmp_path, key) as child:
            assert child.stdout is not None
            child.stdout.readline()
        assert store.tidy(timedelta(hours=1)) == 0
        [left] = partials(tmp_path)
        os.utime(left, (0, 0))
        assert store.tidy(timedelta(hours=1)) == 1
        assert partials(tmp_path) == []


class TestDirectory:
    def test_only_its_owner_may_read(self, tmp_path: Path) -> None:
        root, key = tmp_path / "data" / "blobs", new_key()
        LocalBlobs(root).write(key, [b"text"])
        modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (root, (root / key).parent, root / key)}
        assert list(modes.values()) == [0o700, 0o700, 0o600]

    def test_a_workspace_without_blobs_leaves_no_trace(self, tmp_path: Path) -> None:
        store, workspace = LocalBlobs(tmp_path), uuid4()
        keys = [blob_key(workspace, uuid4()) for _ in range(2)]
        for key in keys:
            store.write(key, [b"text"])
        for key in keys:
            store.delete(key)
        assert [path.name for path in tmp_path.iterdir()] == [".partial"]

    def test_writers_and_deleters_of_one_workspace_do_not_hinder_each_other(self, tmp_path: Path) -> None:
        store, workspace = LocalBlobs(tmp_path), uuid4()

        def come_and_go() -> None:
            for _ in range(40):
                key = blob_key(workspace, uuid4())
                store.write(key, [b"text"])
                assert is_there(store, key)
                store.delete(key)

        at_once(4, come_and_go)
        assert not (tmp_path / str(workspace)).exists()

    def test_a_volume_that_is_not_mounted_has_lost_nothing(self, tmp_path: Path) -> None:
        root, key = tmp_path / "blobs", new_key()
        store = LocalBlobs(root)
        store.write(key, [b"text"])
        root.rename(tmp_path / "elsewhere")
        for attempt in (lambda: next(store.read(key)), lambda: store.delete(key)):
            with pytest.raises(BlobStoreUnavailable):
                attempt()
        (tmp_path / "elsewhere").rename(root)
        assert text_of(store, key) == b"text"

    def test_what_cannot_be_written_says_so(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(BlobStoreUnavailable, match="Not a directory"):
            LocalBlobs(tmp_path / "file" / "blobs").write(new_key(), [b"text"])

    def test_a_write_that_was_tidied_away_fails_as_one_to_be_repeated(self, tmp_path: Path) -> None:
        store, key = LocalBlobs(tmp_path), new_key()

        def chunks() -> list[bytes]:
            assert store.tidy(timedelta(0)) == 1
            return [b"text"]

        with pytest.raises(BlobStoreUnavailable):
            store.write(key, (chunk for _ in range(1) for chunk in chunks()))
        with pytest.raises(BlobMissing):
            next(store.read(key))
