"""Ports on real sockets."""

import os
import socket

import pytest

from dotresize.errors import OptionError
from dotresize.serve.engine.ports import check_port_is_free, free_port


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_free_port_is_free(host: str) -> None:
    port = free_port(host)
    assert 0 < port < 65536
    check_port_is_free(host, port)


def test_a_taken_port_is_refused_with_its_owner() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            OptionError, match=rf"port {port} on 127\.0\.0\.1 is taken by process {os.getpid()} "
        ):
            check_port_is_free("127.0.0.1", port)
    check_port_is_free("127.0.0.1", port)


def test_a_host_of_another_machine_is_refused() -> None:
    with pytest.raises(OptionError, match=r"cannot listen on 192\.0\.2\.77 port 8000"):
        check_port_is_free("192.0.2.77", 8000)
    with pytest.raises(OptionError, match="is not an address"):
        free_port("no.such.host.invalid")
