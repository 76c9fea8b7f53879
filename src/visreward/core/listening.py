"""Take an address of this machine, or say in one sentence why it cannot be had."""

from __future__ import annotations

import socket
from typing import Final

from visreward.core.errors import UsageError

_BACKLOG: Final = 512


def listen(host: str, port: int) -> socket.socket:
    """Return a listening TCP socket.

    Args:
        host: A name or an address, IPv6 with or without brackets.
        port: 0 takes a free one; the socket's name says which.

    Raises:
        UsageError: if the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host.strip("[]"), port))
        listener.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = error.strerror if isinstance(error, OSError) else "ports end at 65535"
        raise UsageError(
            f"The server cannot listen on {host}, port {port}: {reason}. "
            "Choose another --host or --port."
        ) from None
    return listener
