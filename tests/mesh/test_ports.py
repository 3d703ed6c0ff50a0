import os
import socket
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from services.mesh.errors import MeshError, PortTaken
from services.mesh.ports import LOOPBACK, Reservation, free_port, require_free


@pytest.fixture
def listener() -> socket.socket:
    return socket.create_server((LOOPBACK, 0))


class TestReservation:
    def test_a_server_may_listen_on_it_again_and_again(self) -> None:
        reservation = Reservation()
        for _ in range(2):
            server = grpc.server(ThreadPoolExecutor(1), options=[("grpc.so_reuseport", 0)])
            assert server.add_insecure_port(reservation.address) == reservation.port
            server.start()
            with grpc.insecure_channel(reservation.address) as channel:
                grpc.channel_ready_future(channel).result(10)
            server.stop(None).wait()
        reservation.close()

    def test_nobody_answers_before_a_server_does(self) -> None:
        reservation = Reservation()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((LOOPBACK, reservation.port), timeout=5)
        reservation.close()

    def test_somebody_who_listens_is_in_the_way(self, listener: socket.socket) -> None:
        port = listener.getsockname()[1]
        with listener, pytest.raises(PortTaken, match=f"Port {port} for the edge is taken by another process"):
            Reservation(port, "the edge")

    def test_patience_waits_for_one_who_goes(self, listener: socket.socket) -> None:
        port = listener.getsockname()[1]
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(Reservation, port, "the edge", patience=20.0)
            listener.close()
            reservation = waiting.result()
        assert reservation.port == port
        reservation.close()

    def test_a_free_port_is_free(self) -> None:
        require_free(free_port(), "a test")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may open every port")
    def test_a_privileged_port_is_told_apart_from_a_taken_one(self) -> None:
        with pytest.raises(MeshError, match="cannot be opened"):
            require_free(1, "a test")

    def test_an_address_that_is_not_ours(self) -> None:
        with pytest.raises(MeshError, match=r"cannot be opened on 192\.0\.2\.1"):
            require_free(5000, "a test", host="192.0.2.1")
