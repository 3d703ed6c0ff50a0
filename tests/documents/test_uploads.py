"""Uploads in parts: gone on with over breaks, finished once, kept for a while."""

import hashlib
from uuid import uuid4

import grpc
import pytest
from google.api.httpbody_pb2 import HttpBody

from plinth.documents.v1 import document_pb2, upload_pb2
from plinth.documents.v1 import document_service_pb2 as pb
from services.documents.model.uploads import MAX_PART_BYTES, MAX_UPLOADS, MIN_PART_BYTES
from tests.documents.shelf import Shelf, part, text
from tests.support.acting import at_once
from tests.support.errors import Refusal, refusal_of, refused

CODE = grpc.StatusCode


def got(shelf: Shelf, upload: upload_pb2.Upload) -> upload_pb2.Upload:
    return shelf.owner.stubs.documents.GetUpload(pb.GetUploadRequest(name=upload.name)).upload


def cancel(shelf: Shelf, upload: upload_pb2.Upload) -> None:
    shelf.owner.stubs.documents.CancelUpload(pb.CancelUploadRequest(name=upload.name))


class TestParts:
    def test_they_become_one_document_with_what_was_said_at_the_start(self, shelf: Shelf) -> None:
        few = shelf.visible("admin")
        whole = part(b"a") + part(b"b") + b"world!"
        upload = shelf.start(len(whole), name="big.txt", tags=["a"], metadata={"k": "v"}, visibility=few)
        assert (upload.received_bytes, upload.author, upload.visibility) == (0, shelf.owner.name, few)
        assert upload.expire_time.seconds - upload.create_time.seconds == 7 * 24 * 3600
        for data in (part(b"a"), part(b"b"), b"world!"):
            upload = shelf.append(upload, upload.received_bytes, data)
        assert got(shelf, upload) == upload
        made = shelf.finish(upload, sha256=hashlib.sha256(whole).hexdigest())
        assert (made.display_name, list(made.tags), dict(made.metadata)) == ("big.txt", ["a"], {"k": "v"})
        assert (made.visibility, shelf.read(made)) == (few, whole)
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            got(shelf, upload)
        assert shelf.states() == {"live": 1, "doomed": 3}

    def test_a_part_whose_answer_was_lost_may_come_again(self, shelf: Shelf) -> None:
        upload = shelf.begin()
        assert shelf.append(upload, 0, part(b"a")) == upload
        whole = upload.size_bytes
        assert shelf.append(upload, MIN_PART_BYTES, b"56789").received_bytes == whole
        assert shelf.append(upload, 0, part(b"a")).received_bytes == whole
        assert shelf.states() == {"live": 2}

    @pytest.mark.parametrize(
        ("offset", "data"),
        [(0, part(b"b")), (0, part(b"a") + b"a"), (2, part(b"a")), (MIN_PART_BYTES + 2, b"789")],
    )
    def test_any_other_part_is_told_where_to_go_on(self, shelf: Shelf, offset: int, data: bytes) -> None:
        upload = shelf.begin()
        with refused(CODE.ABORTED, "UPLOAD_OFFSET_MISMATCH") as refusal:
            shelf.append(upload, offset, data)
        assert refusal.metadata == {"received_bytes": str(MIN_PART_BYTES)}
        assert got(shelf, upload) == upload

    @pytest.mark.parametrize("metadata", [(), (("content-encoding", "gzip"),)])
    def test_what_is_not_the_file_itself_is_refused(self, shelf: Shelf, metadata: tuple[tuple[str, str], ...]) -> None:
        content = HttpBody(content_type="" if metadata else "multipart/form-data; boundary=x", data=b"--x")
        upload = shelf.start(3)
        stubs = shelf.owner.stubs.documents
        first = pb.UploadDocumentRequest(parent=shelf.workspace, display_name="a.txt", content=content)
        with refused(CODE.INVALID_ARGUMENT, "FIELDS_INVALID") as refusal:
            stubs.UploadDocument(iter([first]), metadata=metadata)
        assert refusal.fields == ["content"]
        assert "must be the file itself" in refusal.told[0]
        with refused(CODE.INVALID_ARGUMENT, "FIELDS_INVALID"):
            stubs.AppendUpload(pb.AppendUploadRequest(name=upload.name, content=content), metadata=metadata)
        assert shelf.listed() == []
        assert got(shelf, upload).received_bytes == 0

    def test_of_two_at_once_one_wins(self, shelf: Shelf) -> None:
        upload = shelf.start(MIN_PART_BYTES + 40)
        parts = [part(b"a"), part(b"b")]

        def attempt() -> upload_pb2.Upload | Refusal:
            try:
                return shelf.append(upload, 0, parts.pop())
            except grpc.RpcError as error:
                return refusal_of(error)

        outcomes = at_once(2, attempt)
        [loser] = [one for one in outcomes if isinstance(one, Refusal)]
        assert (loser.reason, loser.metadata) == ("UPLOAD_OFFSET_MISMATCH", {"received_bytes": str(MIN_PART_BYTES)})
        assert got(shelf, upload).received_bytes == MIN_PART_BYTES
        # Nor do the bytes of the other one wait for a day.
        assert "writing" not in shelf.states()

    def test_only_the_last_may_be_small(self, shelf: Shelf) -> None:
        upload = shelf.start(2 * MIN_PART_BYTES)
        with refused(CODE.INVALID_ARGUMENT, "FIELDS_INVALID") as refusal:
            shelf.append(upload, 0, part(b"a")[1:])
        assert refusal.fields == ["content.data"]
        upload = shelf.append(upload, 0, part(b"a") + b"more")
        assert shelf.append(upload, upload.received_bytes, part(b"b")[4:]).received_bytes == upload.size_bytes
        assert shelf.append(shelf.start(1), 0, b"1").received_bytes == 1

    def test_of_eight_that_repeat_each_other_all_are_told_the_same(self, shelf: Shelf) -> None:
        upload = shelf.start(9)
        answers = at_once(8, lambda: shelf.append(upload, 0, b"the same!"))
        assert {answer.received_bytes for answer in answers} == {9}
        assert shelf.read(shelf.finish(upload)) == b"the same!"
        assert shelf.states()["live"] == 1

    def test_more_than_announced_or_than_a_part_may_have_is_refused(self, shelf: Shelf) -> None:
        upload = shelf.start(MAX_PART_BYTES + 1)
        with refused(CODE.INVALID_ARGUMENT, "FIELDS_INVALID"):
            shelf.append(upload, 0, b"")
        with refused(CODE.INVALID_ARGUMENT, "FIELDS_INVALID"):
            shelf.append(upload, 0, bytes(MAX_PART_BYTES + 1))
        shelf.append(upload, 0, bytes(MAX_PART_BYTES))
        with refused(CODE.INVALID_ARGUMENT, "FIELDS_INVALID") as refusal:
            shelf.append(upload, MAX_PART_BYTES, b"12")
        assert refusal.told == [f"must not go beyond the {MAX_PART_BYTES + 1} bytes that were announced"]

    def test_an_empty_file_is_refused(self, shelf: Shelf) -> None:
        with refused(CODE.INVALID_ARGUMENT, "DOCUMENT_EMPTY"):
            shelf.start(0)


class TestFinish:
    def test_only_what_is_whole_can_be_finished(self, shelf: Shelf) -> None:
        upload = shelf.begin(5)
        with refused(CODE.FAILED_PRECONDITION, "UPLOAD_INCOMPLETE") as refusal:
            shelf.finish(upload)
        assert refusal.metadata == {"received_bytes": str(MIN_PART_BYTES), "size_bytes": str(MIN_PART_BYTES + 5)}

    def test_what_arrived_must_be_what_was_sent(self, shelf: Shelf) -> None:
        upload = shelf.append(shelf.start(5), 0, b"01234")
        with refused(CODE.INVALID_ARGUMENT, "CONTENT_HASH_MISMATCH") as refusal:
            shelf.finish(upload, sha256="0" * 64)
        assert refusal.metadata == {"sha256": hashlib.sha256(b"01234").hexdigest()}
        assert shelf.listed() == []
        assert shelf.read(shelf.finish(upload)) == b"01234"

    def test_of_four_at_once_one_makes_the_document(self, shelf: Shelf) -> None:
        upload = shelf.append(shelf.start(5), 0, b"01234")

        def attempt() -> document_pb2.Document | Refusal:
            try:
                return shelf.finish(upload)
            except grpc.RpcError as error:
                return refusal_of(error)

        outcomes = at_once(4, attempt)
        assert sorted(one.reason for one in outcomes if isinstance(one, Refusal)) == ["NOT_FOUND"] * 3
        assert shelf.told() == ["document.created"]

    def test_a_repeat_with_the_same_request_id_has_the_first_answer(self, shelf: Shelf) -> None:
        upload, request_id = shelf.append(shelf.start(5), 0, b"01234"), str(uuid4())
        first = shelf.finish(upload, request_id=request_id)
        assert shelf.finish(upload, request_id=request_id) == first

    def test_it_can_be_the_next_version(self, shelf: Shelf) -> None:
        first = shelf.create(name="large.txt")
        content = text()
        second = shelf.finish(shelf.append(shelf.start(len(content)), 0, content))
        assert (second.name, second.version, shelf.read(second)) == (first.name, 2, content)


class TestOwnership:
    def test_an_upload_is_its_authors_alone(self, shelf: Shelf) -> None:
        upload = shelf.append(shelf.start(5, shelf.team.member), 0, b"01234", shelf.team.member)
        for other in (
            lambda: got(shelf, upload),
            lambda: shelf.append(upload, 0, b"01234"),
            lambda: shelf.finish(upload),
            lambda: cancel(shelf, upload),
        ):
            with refused(CODE.NOT_FOUND, "NOT_FOUND"):
                other()
        assert shelf.finish(upload, shelf.team.member).author == shelf.team.member.name

    def test_nobody_has_more_than_a_hundred_under_way(self, shelf: Shelf) -> None:
        begun = [shelf.start(5) for _ in range(MAX_UPLOADS - 1)]

        def attempt() -> str:
            try:
                return shelf.start(5).name
            except grpc.RpcError as error:
                return refusal_of(error).reason

        assert sorted(at_once(4, attempt))[:3] == ["UPLOAD_LIMIT_REACHED"] * 3
        shelf.start(5, shelf.team.member)
        cancel(shelf, begun[0])
        shelf.start(5)

    def test_a_cancelled_one_is_gone_with_its_parts(self, shelf: Shelf) -> None:
        upload = shelf.begin(5)
        cancel(shelf, upload)
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            shelf.append(upload, MIN_PART_BYTES, b"56789")
        assert shelf.states() == {"doomed": 1}
