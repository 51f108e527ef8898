"""TCP ports: is one free, who has it, which one is."""

import errno
import socket

import psutil

from ...errors import OptionError

__all__ = ["check_port_is_free", "free_port"]


def free_port(host: str) -> int:
    """A port that nothing listens on now.

    Raises:
        OptionError: The host is not an address of this machine.
    """
    with _listen(host, 0) as listener:
        return int(listener.getsockname()[1])


def check_port_is_free(host: str, port: int) -> None:
    """Do nothing when an engine could listen there.

    Raises:
        OptionError: Something else does, or the host or port is not ours to use.
    """
    _listen(host, port).close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:  # a name that is no name cannot be encoded
        reason = getattr(error, "strerror", None) or error
        raise OptionError(f"host {host!r} is not an address of this machine: {reason}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise OptionError(
                f"port {port} on {host} is taken{_owner(port)}; choose another, or --port 0 for a free one"
            ) from error
        raise OptionError(f"cannot listen on {host} port {port}: {error.strerror}") from error
    return listener


def _owner(port: int) -> str:
    """Who listens there, as far as this user may know."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            listens = connection.status == psutil.CONN_LISTEN
            if listens and getattr(connection.laddr, "port", None) == port and connection.pid:
                return f" by process {connection.pid} ({psutil.Process(connection.pid).name()})"
    except psutil.Error:
        return ""
    return ""
