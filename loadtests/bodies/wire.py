"""Large bodies on a plain blocking socket, sent and taken in by the megabyte; for the client and for the pod.

Nothing is kept: a body is one block again and again, and what comes in overwrites what came before. Both framings; a body's length is
whole blocks.
"""

import hashlib
import random
import socket
import time
from collections.abc import Iterator

BLOCK_SIZE = 2**20
CHUNK_SIZE = 2**16
BLOCK = random.Random(1).randbytes(BLOCK_SIZE)
"""What bodies are made of: nothing in it repeats, so that a piece lost or taken twice would show in the digest."""
CHUNKED_BLOCK = b"".join(
    b"%x\r\n%b\r\n" % (CHUNK_SIZE, BLOCK[at : at + CHUNK_SIZE]) for at in range(0, BLOCK_SIZE, CHUNK_SIZE)
)
HEAD_MOST = 65536
SLOW_BUFFER = 2**18
"""What a slow reader's socket takes in ahead of it: little, so that its sender is held up."""


def framing(blocks: int, *, chunked: bool) -> bytes:
    """The header field of a body of so many blocks."""
    return b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % (blocks * BLOCK_SIZE)


def send_body(to: socket.socket, blocks: int, *, chunked: bool) -> None:
    block = CHUNKED_BLOCK if chunked else BLOCK
    for _ in range(blocks):
        to.sendall(block)
    if chunked:
        to.sendall(b"0\r\n\r\n")


def digest(blocks: int) -> str:
    """Of a body of so many blocks."""
    sha = hashlib.sha256()
    for _ in range(blocks):
        sha.update(BLOCK)
    return sha.hexdigest()


class Intake:
    """Messages that come in on one connection. Raises ConnectionError when it ends within one."""

    def __init__(self, source: socket.socket) -> None:
        self._source = source
        self._buffer = bytearray(BLOCK_SIZE)
        self._view = memoryview(self._buffer)
        self._kept = b""
        """What has come and is not yet taken."""
        self.head = b""
        """Of the last message: its first line and its fields, in lower case."""

    def read_head(self) -> bool:
        """Whether there is another message."""
        while b"\r\n\r\n" not in self._kept:
            data = self._source.recv(HEAD_MOST)
            if not data and not self._kept:
                return False
            self._kept += data
            if not data or len(self._kept) > 2 * HEAD_MOST:
                raise ConnectionError(f"no head: {self._kept[:300]!r}")
        head, _, self._kept = self._kept.partition(b"\r\n\r\n")
        self.head = head.lower()
        return True

    def field(self, name: bytes) -> bytes | None:
        """A field's value, in lower case."""
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key == name:
                return value.strip()
        return None

    def read_text(self) -> bytes:
        """A body that is small, as a whole."""
        return b"".join(map(bytes, self._pieces()))

    def read_body(self, *, with_digest: bool = False, rate: float = 0.0) -> tuple[int, str]:
        """Take in the body; its length and, if wanted, its digest. `rate`: bytes a second at most; 0: as they come."""
        sha, size, began = hashlib.sha256(), 0, time.monotonic()
        for piece in self._pieces():
            size += len(piece)
            if with_digest:
                sha.update(piece)
            if rate and (early := size / rate - (time.monotonic() - began)) > 0.05:
                time.sleep(early)
        return size, sha.hexdigest()

    def _pieces(self) -> Iterator[memoryview]:
        """The body as it comes; each piece is overwritten by the next."""
        if self.field(b"transfer-encoding") == b"chunked":
            return self._chunks()
        return self._counted(int(self.field(b"content-length") or 0))

    def _read(self, most: int) -> memoryview:
        """Some bytes, `most` at most."""
        if self._kept:
            data, self._kept = self._kept[:most], self._kept[most:]
            return memoryview(data)
        count = self._source.recv_into(self._view[: min(most, BLOCK_SIZE)])
        if not count:
            raise ConnectionError("ended within a body")
        return self._view[:count]

    def _counted(self, left: int) -> Iterator[memoryview]:
        while left:
            piece = self._read(left)
            left -= len(piece)
            yield piece

    def _chunks(self) -> Iterator[memoryview]:
        """The data of chunks, many chunks to a read. Trailers are not expected."""
        line, left = b"", 0  # left: of a chunk's data and the line's end behind it
        while True:
            piece, at = self._read(BLOCK_SIZE), 0
            while at < len(piece):
                if left:
                    taken = min(left, len(piece) - at)
                    data = min(taken, left - 2)
                    if data > 0:
                        yield piece[at : at + data]
                    left -= taken
                    at += taken
                    continue
                end = bytes(piece[at : at + 32]).find(b"\n") + 1
                line += piece[at : at + end] if end else piece[at:]
                at = at + end if end else len(piece)
                if end and line == b"\r\n":
                    self._kept = bytes(piece[at:])
                    return
                if end:
                    size = int(line, 16)
                    left = size + 2 if size else 0
                    line = b""
