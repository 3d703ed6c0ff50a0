"""The wrapper around grpcio-tools."""

from tests.tools.conftest import Compile
from tests.tools.contracts import MESSAGES, method, policy, service
from tools.protoc_gen_grpc_python import generate


class TestGenerate:
    def test_a_file_with_a_service_gets_stubs_and_every_folder_is_a_package(self, compile_proto: Compile) -> None:
        response = generate(compile_proto(service(method("GetPet", policy("public: true"))) + MESSAGES))
        files = {file.name: file.content for file in response.file}
        assert set(files) == {
            "plinth/__init__.py",
            "plinth/pets/__init__.py",
            "plinth/pets/v1/__init__.py",
            "plinth/pets/v1/pets_pb2_grpc.py",
        }
        assert "class PetServiceStub" in files["plinth/pets/v1/pets_pb2_grpc.py"]

    def test_a_file_without_a_service_gets_none(self, compile_proto: Compile) -> None:
        names = {file.name for file in generate(compile_proto(MESSAGES)).file}
        assert all(name.endswith("__init__.py") for name in names)
