"""A pod as small as can be: answers every request with 200 once it has loaded, and misbehaves as its flags say."""

import argparse
import os
import signal
import socket
import subprocess
import sys
import threading
import time

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, default=int(os.environ["PORT"]))
parser.add_argument("--load", type=float, default=0.0)
parser.add_argument("--unready", action="store_true", help="answer with 503 for ever")
parser.add_argument("--die-after", type=float)
parser.add_argument("--ignore-term", action="store_true")
parser.add_argument("--child", help="start a child in the same group and write its pid to this file")
parser.add_argument("--env", help="print this variable")
args = parser.parse_args()

if args.ignore_term:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if args.child:
    child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(300)"])
    with open(args.child + ".part", "w") as file:  # noqa: PTH123
        file.write(str(child.pid))
    os.rename(args.child + ".part", args.child)  # noqa: PTH104
if args.env:
    print(args.env, os.environ.get(args.env), flush=True)  # noqa: T201
if args.die_after is not None:
    threading.Timer(args.die_after, os._exit, [7]).start()

time.sleep(args.load)
with socket.create_server(("127.0.0.1", args.port)) as listener:
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            status = b"503 Loading" if args.unready else b"200 OK"
            connection.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
