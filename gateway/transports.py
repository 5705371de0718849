"""What both sides ask of a transport and asyncio has no word for.

Transports are typed loosely: uvloop's are no subclasses of asyncio's. `downstream` and `upstream` use it.
"""

import socket
import struct
from typing import Any

_RESET = struct.pack("ii", 1, 0)


def reset(transport: Any) -> None:  # noqa: ANN401  # see above
    """Break the connection, so that its other side cannot take what it has for the whole: a reset (RST), not an end (FIN)."""
    sock = transport.get_extra_info("socket")
    if sock is not None and not transport.is_closing():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()
