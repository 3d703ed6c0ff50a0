"""A contract for the tests of the chain, compiled when they begin: `tests/interceptors/scratch.proto`."""

import importlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from google.api import annotations_pb2, httpbody_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FileDescriptor
from grpc_tools import protoc

from buf.validate import validate_pb2
from plinth.options.v1 import policy_pb2

SOURCE = Path(__file__).parents[1] / "interceptors" / "scratch.proto"
SERVICE = "plinth.scratch.v1.ScratchService"


def _compile() -> tuple[Any, Any]:
    """The modules of messages and of stubs; once imported they need no files."""
    imports = descriptor_pb2.FileDescriptorSet()
    for module in (validate_pb2, annotations_pb2, httpbody_pb2, policy_pb2):
        _add(imports, module.DESCRIPTOR)
    with tempfile.TemporaryDirectory(prefix="plinth-scratch-") as folder:
        known = Path(folder) / "imports.binpb"
        known.write_bytes(imports.SerializeToString())
        arguments = ["protoc", f"-I{SOURCE.parent}", f"--descriptor_set_in={known}", f"--python_out={folder}"]
        if protoc.main([*arguments, f"--grpc_python_out={folder}", SOURCE.name]) != 0:
            raise RuntimeError("the scratch contract does not compile")
        sys.path.append(folder)
        try:
            return importlib.import_module("scratch_pb2"), importlib.import_module("scratch_pb2_grpc")
        finally:
            sys.path.remove(folder)


def _add(known: descriptor_pb2.FileDescriptorSet, file: FileDescriptor) -> None:
    """The file and all that it imports, each once, the imported first."""
    if file.name not in {one.name for one in known.file}:
        for dependency in file.dependencies:
            _add(known, dependency)
        file.CopyToProto(known.file.add())


# The types of a module that is made at run time are not known before it.
_modules = _compile()
pb: Any = _modules[0]
pb_grpc: Any = _modules[1]


def _answer(request: Any, context: Any) -> Any:
    del context
    return pb.Answer(text=request.text)


def _count(request: Any, context: Any) -> Iterator[Any]:
    del context
    for number in range(request.count):
        yield pb.Answer(number=number)


def _collect(requests: Iterator[Any], context: Any) -> Any:
    del context
    return pb.Answer(text="".join(request.text for request in requests))


def _echo(requests: Iterator[Any], context: Any) -> Iterator[Any]:
    del context
    for request in requests:
        yield pb.Answer(text=request.text)


class ScratchServicer(pb_grpc.ScratchServiceServicer):  # type: ignore[misc]  # its base is made at run time
    """Does what the test says: one function for each kind of method, and who was called is written down."""

    def __init__(self) -> None:
        self.unary: Callable[[Any, Any], Any] = _answer
        self.stream: Callable[[Any, Any], Any] = _count
        self.upload: Callable[[Any, Any], Any] = _collect
        self.converse: Callable[[Any, Any], Any] = _echo
        self.called: list[str] = []

    def _unary(self, name: str, request: Any, context: Any) -> Any:
        self.called.append(name)
        return self.unary(request, context)

    def Ping(self, request: Any, context: Any) -> Any:
        return self._unary("Ping", request, context)

    def Attempt(self, request: Any, context: Any) -> Any:
        return self._unary("Attempt", request, context)

    def Enter(self, request: Any, context: Any) -> Any:
        self.called.append("Enter")
        return pb.Answer()

    def GetSelf(self, request: Any, context: Any) -> Any:
        return self._unary("GetSelf", request, context)

    def Visit(self, request: Any, context: Any) -> Any:
        return self._unary("Visit", request, context)

    def GetNote(self, request: Any, context: Any) -> Any:
        return self._unary("GetNote", request, context)

    def Export(self, request: Any, context: Any) -> Any:
        return self._unary("Export", request, context)

    def Tell(self, request: Any, context: Any) -> Any:
        return self._unary("Tell", request, context)

    def TellAll(self, request: Any, context: Any) -> Any:
        return self._unary("TellAll", request, context)

    def Operate(self, request: Any, context: Any) -> Any:
        return self._unary("Operate", request, context)

    def Count(self, request: Any, context: Any) -> Any:
        self.called.append("Count")
        return self.stream(request, context)

    def WatchNote(self, request: Any, context: Any) -> Any:
        self.called.append("WatchNote")
        return self.stream(request, context)

    def WatchExports(self, request: Any, context: Any) -> Any:
        self.called.append("WatchExports")
        return self.stream(request, context)

    def Download(self, request: Any, context: Any) -> Any:
        self.called.append("Download")
        return self.stream(request, context)

    def Upload(self, request_iterator: Any, context: Any) -> Any:
        self.called.append("Upload")
        return self.upload(request_iterator, context)

    def Converse(self, request_iterator: Any, context: Any) -> Any:
        self.called.append("Converse")
        return self.converse(request_iterator, context)
