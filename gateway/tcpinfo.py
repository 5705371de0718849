"""What the kernel knows of a connection that was lost: had anything of the last request reached the pod?

Edge, asked only when a kept connection is lost before a byte of an answer. The pod may have closed it just as the request was on its
way, and then any request may be sent again. Two facts together prove that, and neither does alone (seen on Linux):

- A FIN came from the pod: it had closed in good order. After a bare reset nothing is known, since a reset acknowledges nothing, not
  even what the pod's process has read already.
- Nothing of the request is acknowledged: a FIN acknowledges all that had reached the pod's kernel when the pod closed.

Where this cannot be known (other systems, TLS, whose records have other lengths), the pod counts as having seen the request.
"""

import socket
import struct
import sys
from typing import Any

_BYTES_ACKED = 120
"""Where struct tcp_info (linux/tcp.h) has tcpi_bytes_acked, 64 bits, since Linux 4.1."""


def unseen(transport: Any, before: int, exc: Exception | None) -> bool:  # noqa: ANN401  # uvloop's is no subclass of asyncio's
    """Whether nothing of what was written after the first `before` bytes reached the pod. To be asked in `connection_lost`, whose `exc` this is.

    After a FIN, the connection ends without an exception, or, when more was written meanwhile, with a broken pipe; after a bare reset with
    ConnectionResetError.
    """
    if exc is not None and not isinstance(exc, BrokenPipeError):
        return False
    acked = _acked(transport)
    # The handshake counts as one byte. Equal, not at most: a kernel that does not count says 0.
    return acked is not None and acked == before + 1


def _acked(transport: Any) -> int | None:  # noqa: ANN401
    sock = transport.get_extra_info("socket")
    if sys.platform != "linux" or sock is None or transport.get_extra_info("sslcontext") is not None:
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED + 8)
    except OSError:
        return None
    if len(info) < _BYTES_ACKED + 8:
        return None
    acked: int = struct.unpack_from("=Q", info, _BYTES_ACKED)[0]
    return acked
