"""The pod: takes in bodies and sends bodies as fast as its sockets do, a thread to a connection, nothing kept. A process of its own.

GET /…/down?blocks=N&chunked=1 answers with a body; POST /…/up?digest=1&rate=BYTES takes one in and tells its length and digest;
anything else gets a small answer at once.
"""

import argparse
import json
import socket
import threading
from contextlib import suppress
from urllib.parse import parse_qsl

from loadtests.bodies.wire import SLOW_BUFFER, Intake, framing, send_body
from loadtests.common import loopback

SMALL = b'{"model_name":"iris"}'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("addresses", nargs="+")
    listeners = [
        socket.create_server(loopback(address), backlog=128) for address in parser.parse_args().addresses
    ]
    threads = [threading.Thread(target=accept, args=(listener,)) for listener in listeners]
    for thread in threads:
        thread.start()


def accept(listener: socket.socket) -> None:
    while True:
        client, _ = listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=serve, args=(client,), daemon=True).start()


def serve(client: socket.socket) -> None:
    """One connection's requests. A proxy that breaks it off says so to its own client; here it is no error."""
    with client, suppress(ConnectionError):
        intake = Intake(client)
        while intake.read_head():
            answer(client, intake)


def answer(client: socket.socket, intake: Intake) -> None:
    target = intake.head.split(b" ", 2)[1].decode()
    path, _, query = target.partition("?")
    wanted = dict(parse_qsl(query))
    if path.endswith("/down"):
        blocks, chunked = int(wanted["blocks"]), "chunked" in wanted
        client.sendall(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % framing(blocks, chunked=chunked))
        send_body(client, blocks, chunked=chunked)
        return
    text = SMALL
    if path.endswith("/up"):
        rate = float(wanted.get("rate", 0))
        if rate:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BUFFER)
        size, digest = intake.read_body(with_digest="digest" in wanted, rate=rate)
        text = json.dumps({"size": size, "digest": digest}).encode()
    else:
        intake.read_body()
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))


if __name__ == "__main__":
    main()
