"""Documents: uploaded, listed, changed, read, processed again, deleted."""

import base64
import io
import zipfile
from collections.abc import Iterator
from uuid import uuid4

import grpc
import pytest

from plinth.documents.v1 import document_pb2, ingestion_pb2
from plinth.documents.v1 import document_service_pb2 as pb
from services.documents.blobs.port import blob_key
from tests.documents.shelf import Shelf, text
from tests.support.acting import at_once
from tests.support.errors import refused
from tests.support.waiting import until

CODE = grpc.StatusCode
PDF = b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n"


class TestCreate:
    def test_a_file_becomes_a_document(self, shelf: Shelf) -> None:
        member = shelf.team.member
        made = shelf.create(PDF, member, name="Contract.bin", tags=["legal"], metadata={"year": "2025"})
        assert (made.display_name, list(made.tags), dict(made.metadata)) == (
            "Contract.bin",
            ["legal"],
            {"year": "2025"},
        )
        assert (made.media_type, made.size_bytes, made.version) == ("application/pdf", len(PDF), 1)
        assert (made.author, made.indexed_version, made.content) == (member.name, 0, b"")
        assert made.visibility.kind == document_pb2.Visibility.KIND_EVERYONE
        assert made.ingestion_state == ingestion_pb2.INGESTION_STATE_RECEIVED
        assert shelf.get(made) == made
        assert shelf.read(made) == PDF
        assert shelf.told() == ["document.created"]

    def test_the_job_that_reads_it_is_in_the_same_commit(self, shelf: Shelf) -> None:
        made = shelf.create()
        assert shelf.ingestions() == [(1, "received")]
        assert shelf.jobs() == [("ingest", "documents.ingest", made.ingestion)]

    def test_an_empty_file_is_refused(self, shelf: Shelf) -> None:
        with refused(CODE.INVALID_ARGUMENT, "DOCUMENT_EMPTY"):
            shelf.create(b"")
        with refused(CODE.INVALID_ARGUMENT, "DOCUMENT_EMPTY"):
            shelf.upload([b"", b""])

    def test_a_repeat_with_the_same_request_id_does_it_once(self, shelf: Shelf) -> None:
        request_id, content = str(uuid4()), text()
        first = shelf.create(content, name="once.txt", request_id=request_id)
        shelf.create(text(), name="once.txt")
        assert shelf.create(content, name="once.txt", request_id=request_id) == first
        assert shelf.get(first).version == 2

    def test_of_eight_at_once_by_one_name_each_is_a_version(self, shelf: Shelf) -> None:
        made = at_once(8, lambda: shelf.create(name="same.txt"))
        assert len({one.name for one in made}) == 1
        assert sorted(one.version for one in made) == list(range(1, 9))
        assert shelf.versions(made[0]) == list(range(8, 0, -1))
        assert sorted(state for _, state in shelf.ingestions()) == ["cancelled"] * 7 + ["received"]

    @pytest.mark.parametrize(
        ("name", "told"),
        [
            ("of two\nlines", "must be one line without control characters, and not begin or end with a space"),
            ("a space behind ", "must be one line without control characters, and not begin or end with a space"),
            ("\u200b", "must have a character that can be seen"),
            ("\u3164\ufe0f", "must have a character that can be seen"),
        ],
    )
    def test_what_is_wrong_with_a_name_is_told_in_words(self, shelf: Shelf, name: str, told: str) -> None:
        with refused(CODE.INVALID_ARGUMENT, "FIELDS_INVALID") as refusal:
            shelf.create(name=name)
        assert (refusal.fields, refusal.told) == (["document.display_name"], [told])

    @pytest.mark.parametrize("name", ["\u200fحساب.pdf", "👨\u200d👩\u200d👧", "❤\ufe0f", "हिन्दी", "한글.txt"])
    def test_a_name_may_hold_what_is_not_seen_beside_what_is(self, shelf: Shelf, name: str) -> None:
        assert shelf.create(name=name).display_name == name

    def test_a_name_of_another_kind_is_told_its_form(self, shelf: Shelf) -> None:
        with refused(CODE.INVALID_ARGUMENT, "FIELDS_INVALID") as refusal:
            shelf.create(visibility=document_pb2.Visibility(members=["users/ada"]))
        assert refusal.told == ["must be a resource name of the form users/{uuid}"]


class TestVersions:
    def test_a_name_that_is_there_gets_the_next_version_and_stays_as_it_is(self, shelf: Shelf) -> None:
        first = shelf.create(b"one", name="plan.txt", tags=["a"], metadata={"k": "v"})
        second = shelf.create(PDF, shelf.team.member, name="plan.txt", tags=["b"], metadata={"k": "w"})
        assert (second.name, second.version, second.media_type) == (first.name, 2, "application/pdf")
        assert (list(second.tags), dict(second.metadata), second.author) == (["a"], {"k": "v"}, first.author)
        assert second.etag != first.etag
        assert second.ingestion != first.ingestion
        assert (shelf.read(second), shelf.read(second, version=1)) == (PDF, b"one")
        request = pb.ListDocumentVersionsRequest(parent=second.name)
        newest, oldest = shelf.owner.stubs.documents.ListDocumentVersions(request).versions
        assert (newest.version, newest.author, newest.size_bytes) == (2, shelf.team.member.name, len(PDF))
        assert (oldest.version, oldest.author, oldest.sha256) == (1, shelf.owner.name, first.sha256)
        assert shelf.ingestions() == [(1, "cancelled"), (2, "received")]
        assert shelf.told() == ["document.created", "document_version.added", "ingestion.advanced"]

    def test_the_same_bytes_again_change_nothing(self, shelf: Shelf) -> None:
        content = text()
        first = shelf.create(content, name="twice.txt")
        assert shelf.upload([content[:5], content[5:]], name="twice.txt") == first
        assert (shelf.ingestions(), shelf.told()) == ([(1, "received")], ["document.created"])
        assert shelf.states() == {"live": 1, "doomed": 1}

    def test_bytes_of_an_older_version_are_a_new_one(self, shelf: Shelf) -> None:
        made = [shelf.create(content, name="back.txt") for content in (b"one", b"two", b"one")]
        assert [document.version for document in made] == [1, 2, 3]

    def test_another_visibility_than_the_documents_is_refused_before_anybody_could_see_the_bytes(
        self, shelf: Shelf
    ) -> None:
        first = shelf.create(name="open.txt")
        few = shelf.visible(shelf.owner)
        with refused(CODE.INVALID_ARGUMENT, "VISIBILITY_INVALID"):
            shelf.create(name="open.txt", visibility=few)
        assert shelf.get(first).version == 1
        shut = shelf.create(name="shut.txt", visibility=few)
        assert shelf.create(name="shut.txt", visibility=few).version == 2
        assert shelf.create(name="shut.txt").visibility == shut.visibility

    def test_a_version_that_is_not_there_cannot_be_read(self, shelf: Shelf) -> None:
        made = shelf.create()
        with refused(CODE.NOT_FOUND, "NOT_FOUND") as refusal:
            shelf.read(made, version=2)
        assert refusal.metadata == {"resource": made.name, "version": "2"}


class TestUpload:
    def test_a_stream_of_many_pieces_is_one_file(self, shelf: Shelf) -> None:
        pieces = [bytes([number]) * 70_000 for number in range(40)]
        made = shelf.upload(pieces, name="many.bin", tags=["raw"])
        assert (made.size_bytes, list(made.tags)) == (2_800_000, ["raw"])
        assert shelf.read(made) == b"".join(pieces)

    def test_the_first_message_may_bring_bytes_already(self, shelf: Shelf) -> None:
        request = pb.UploadDocumentRequest(parent=shelf.workspace, display_name="first.txt")
        request.content.data = b"all of it"
        made = shelf.owner.stubs.documents.UploadDocument(iter([request])).document
        assert shelf.read(made) == b"all of it"

    def test_what_the_first_message_says_is_said_again_and_not_otherwise(self, shelf: Shelf) -> None:
        first = pb.UploadDocumentRequest(parent=shelf.workspace, display_name="said.txt", tags=["x"])
        first.content.data = b"twice "
        upload = shelf.owner.stubs.documents.UploadDocument
        assert shelf.read(upload(iter([first, first])).document) == b"twice twice "
        other = pb.UploadDocumentRequest(parent=f"workspaces/{uuid4()}", display_name="other.txt", tags=["x"])
        with refused(CODE.INVALID_ARGUMENT, "FIELDS_INVALID") as refusal:
            upload(iter([first, other]))
        assert refusal.fields == ["parent", "display_name"]
        assert shelf.listed() == ["said.txt"]

    def test_a_stream_that_breaks_off_leaves_no_document(self, shelf: Shelf) -> None:
        def broken() -> Iterator[bytes]:
            yield text() * 1000
            until(shelf.states, "the first bytes at the server")
            raise ConnectionError

        with pytest.raises(grpc.RpcError):
            shelf.upload(broken(), name="half.bin")
        assert shelf.listed() == []
        assert shelf.states() == {"writing": 1}

    @pytest.mark.parametrize("padding", [10, 100_000])
    def test_an_office_file_is_told_by_its_end(self, shelf: Shelf, padding: int) -> None:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for name in ("padding", "[Content_Types].xml", "xl/workbook.xml"):
                archive.writestr(name, bytes(padding))
        made = shelf.upload([packed.getvalue()[:50], packed.getvalue()[50:]], name="budget.unknown")
        assert made.media_type.endswith("spreadsheetml.sheet")


class TestList:
    def test_filters_and_sorts(self, shelf: Shelf) -> None:
        shelf.create(b"b" * 30, name="beta.txt", tags=["x", "y"], metadata={"year": "2024"})
        shelf.create(PDF * 40, name="alpha.pdf", tags=["y"])
        shelf.create(b"c", shelf.team.member, name="gamma.txt")
        assert shelf.listed() == ["beta.txt", "alpha.pdf", "gamma.txt"]
        assert shelf.listed(order_by="display_name") == ["alpha.pdf", "beta.txt", "gamma.txt"]
        assert shelf.listed(order_by="size_bytes desc") == ["alpha.pdf", "beta.txt", "gamma.txt"]
        assert shelf.listed(filter='tags:"x"') == ["beta.txt"]
        assert shelf.listed(filter='metadata.year = "2024"') == ["beta.txt"]
        assert shelf.listed(filter='media_type = "application/pdf"') == ["alpha.pdf"]
        assert shelf.listed(filter=f'author = "{shelf.team.member.name}"') == ["gamma.txt"]
        assert shelf.listed(filter="size_bytes > 10 AND ingestion_state = INGESTION_STATE_RECEIVED") == [
            "beta.txt",
            "alpha.pdf",
        ]
        with refused(CODE.INVALID_ARGUMENT, "FILTER_INVALID"):
            shelf.listed(filter="content = 1")


class TestUpdate:
    def test_changes_what_is_known_and_tells_search_all_of_it(self, shelf: Shelf) -> None:
        made = shelf.create(name="old.txt", tags=["a"], metadata={"k": "v"})
        made.display_name, made.tags[:] = "new.txt", ["b", "c"]
        made.visibility.CopyFrom(shelf.visible("admin"))
        after = shelf.update(made, "display_name", "tags", "visibility")
        assert (after.display_name, list(after.tags), dict(after.metadata)) == ("new.txt", ["b", "c"], {"k": "v"})
        assert after.visibility == shelf.visible("admin")
        assert (after.version, after.etag != made.etag) == (1, True)
        assert shelf.get(made) == after
        assert shelf.told() == ["document.created", "document.updated"]

    def test_nothing_changed_is_no_change(self, shelf: Shelf) -> None:
        made = shelf.create()
        assert shelf.update(made, "*") == made
        assert shelf.told() == ["document.created"]

    def test_a_name_that_another_one_has_is_taken(self, shelf: Shelf) -> None:
        shelf.create(name="one.txt")
        two = shelf.create(name="two.txt")
        two.display_name = "one.txt"
        with refused(CODE.ALREADY_EXISTS, "DOCUMENT_NAME_TAKEN"):
            shelf.update(two, "display_name")

    def test_needs_the_etag_that_was_read(self, shelf: Shelf) -> None:
        made = shelf.create()
        stale = document_pb2.Document()
        stale.CopyFrom(made)
        made.tags.append("x")
        shelf.update(made)
        with refused(CODE.ABORTED, "ETAG_MISMATCH"):
            shelf.update(stale)


class TestDelete:
    def test_it_is_gone_at_once_and_only_the_audit_log_knows_of_it(self, shelf: Shelf) -> None:
        made = shelf.create(name="bye.txt")
        shelf.create(name="bye.txt")
        with refused(CODE.PERMISSION_DENIED, "PERMISSION_DENIED"):
            shelf.delete(made, shelf.team.member)
        shelf.delete(made, shelf.team.admin)
        for gone in (lambda: shelf.get(made), lambda: shelf.read(made), lambda: shelf.versions(made)):
            with refused(CODE.NOT_FOUND, "NOT_FOUND"):
                gone()
        assert (shelf.listed(), shelf.ingestions(), shelf.states()) == ([], [], {"doomed": 2})
        assert shelf.told()[-1] == "document.deleted"
        assert shelf.create(name="bye.txt").version == 1


class TestDownload:
    def test_it_is_sent_as_an_attachment_that_no_browser_runs(self, shelf: Shelf) -> None:
        made = shelf.create(b"<html><script>alert(1)</script></html>", name='Zoë "1"/2.html')
        call = shelf.owner.stubs.documents.DownloadDocument(pb.DownloadDocumentRequest(name=made.name))
        first = next(iter(call))
        headers = dict(call.initial_metadata())
        assert first.content_type == "text/html"
        assert headers["content-disposition"] == (
            "attachment; filename=\"Zo_ _1__2.html\"; filename*=UTF-8''Zo%C3%AB%20%221%22%2F2.html"
        )
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert headers["repr-digest"] == f"sha-256=:{base64.b64encode(bytes.fromhex(made.sha256)).decode()}:"

    def test_what_is_left_of_a_damaged_file_is_not_taken_for_all_of_it(self, shelf: Shelf) -> None:
        made = shelf.create(b"all of it")
        [blob] = shelf.blobs()
        shelf.store.write(blob_key(shelf.workspace_id, blob), [b"all"])
        with refused(CODE.INTERNAL, "INTERNAL"):
            shelf.read(made)


class TestReprocess:
    def test_begins_once_more_when_nothing_is_under_way(self, shelf: Shelf) -> None:
        made = shelf.create()
        request = pb.ReprocessDocumentRequest(name=made.name)
        with refused(CODE.FAILED_PRECONDITION, "INGESTION_STATE_CONFLICT") as refusal:
            shelf.owner.stubs.documents.ReprocessDocument(request)
        assert refusal.metadata == {"ingestion": made.ingestion, "state": "INGESTION_STATE_RECEIVED"}
        shelf.end_ingestions()
        begun = shelf.owner.stubs.documents.ReprocessDocument(request).ingestion
        assert (begun.document, begun.version) == (made.name, 1)
        assert shelf.get(made).ingestion == begun.name
        assert shelf.ingestions() == [(1, "dead"), (1, "received")]
        assert shelf.jobs()[-1][2] == begun.name


class TestLimits:
    def test_what_is_announced_too_large_is_refused_before_it_comes(self, shelf: Shelf) -> None:
        with refused(CODE.INVALID_ARGUMENT, "DOCUMENT_TOO_LARGE") as refusal:
            shelf.start(2**40)
        assert refusal.metadata == {"limit_bytes": str(200 * 1024 * 1024)}
