"""protoc-gen-grpc-python: a buf plugin around grpcio-tools, since buf has no builtin for gRPC's Python stubs.

It also makes each generated folder a package. Takes no options.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path, PurePosixPath

from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc


def packages(files: list[str]) -> list[str]:
    """Every folder that holds one of `files`, or holds such a folder, in order."""
    folders = {str(parent) for name in files for parent in PurePosixPath(name).parents}
    return sorted(folders - {"."})


def generate(request: CodeGeneratorRequest) -> CodeGeneratorResponse:
    """The `_pb2_grpc.py` of each file that has a service, and an empty `__init__.py` a folder."""
    response = CodeGeneratorResponse(supported_features=CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL)
    files = list(request.file_to_generate)
    with_service = {file.name for file in request.proto_file if file.service} & set(files)
    for folder in packages(files):
        response.file.add(name=f"{folder}/__init__.py")
    if not with_service:
        return response
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.binpb"
        image.write_bytes(FileDescriptorSet(file=request.proto_file).SerializeToString())
        out = Path(folder) / "out"
        out.mkdir()
        arguments = ["protoc", f"--descriptor_set_in={image}", f"--grpc_python_out={out}", *sorted(with_service)]
        # Whatever protoc prints must not mix with the response on stdout.
        with contextlib.redirect_stdout(sys.stderr):
            status = protoc.main(arguments)
        if status != 0:
            raise SystemExit(f"grpc_tools.protoc ended with status {status}.")
        for path in sorted(out.rglob("*.py")):
            response.file.add(name=path.relative_to(out).as_posix(), content=path.read_text())
    return response


if __name__ == "__main__":
    answer = generate(CodeGeneratorRequest.FromString(sys.stdin.buffer.read()))
    sys.stdout.buffer.write(answer.SerializeToString())
