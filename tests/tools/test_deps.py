"""Third-party protos: gathered once, and refused when they are not what was pinned."""

from pathlib import Path

import pytest

from tools import deps


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `.deps` of the test's own, with the cached source distribution in it."""
    deps.gather()
    deps.write_if_changed(tmp_path / "cache" / deps.SDIST, (deps.DEPS / "cache" / deps.SDIST).read_bytes())
    monkeypatch.setattr(deps, "DEPS", tmp_path)
    monkeypatch.setattr(deps, "PROTO", tmp_path / "proto")
    return tmp_path


class TestGather:
    def test_exactly_the_listed_protos_are_there(self, elsewhere: Path) -> None:
        (elsewhere / "proto/google/api").mkdir(parents=True)
        (elsewhere / "proto/google/api/left_over.proto").write_text("")
        deps.gather()
        found = {path.relative_to(elsewhere / "proto").as_posix() for path in elsewhere.rglob("*.proto")}
        assert found == {*deps.GOOGLE, "buf/validate/validate.proto"}

    def test_a_source_distribution_of_another_hash_is_refused_and_removed(self, elsewhere: Path) -> None:
        archive = elsewhere / "cache" / deps.SDIST
        archive.write_bytes(archive.read_bytes() + b"\0")
        with pytest.raises(SystemExit, match="not the pinned"):
            deps.gather()
        assert not archive.exists()


class TestWriteIfChanged:
    def test_a_reader_finds_the_whole_file_with_the_rights_of_any_other(self, tmp_path: Path) -> None:
        assert deps.write_if_changed(tmp_path / "a/b", b"one")
        assert not deps.write_if_changed(tmp_path / "a/b", b"one")
        assert deps.write_if_changed(tmp_path / "a/b", b"two")
        assert (tmp_path / "a/b").read_bytes() == b"two"
        assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o644
        assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
