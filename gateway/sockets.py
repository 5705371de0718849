"""What transports do not do: a reset.

Edge. Transports are typed loosely, as uvloop's are no subclasses of asyncio's. `downstream` and `upstream` use it.
"""

import socket
import struct
from typing import Any

_RESET = struct.pack("ii", 1, 0)


def reset_connection(transport: Any) -> None:  # noqa: ANN401
    """Break a connection so that the other side cannot take what it has for the whole: a reset, not an end."""
    if not transport.is_closing() or transport.get_write_buffer_size():
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()
