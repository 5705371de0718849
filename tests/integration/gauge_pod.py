"""A model server that says what a test tells it to: its `/metrics` page is a file, and while another file is there it computes half of the time.

Started by Tidegate as a pod: --port PORT, and the folder of both files in GAUGE_FOLDER. It computes for one minute at most.
"""

import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FOLDER = Path(os.environ["GAUGE_FOLDER"])


class Pages(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        page = FOLDER / "metrics"
        found = self.path != "/metrics" or page.is_file()
        body = page.read_bytes() if found and self.path == "/metrics" else b"ok\n"
        self.send_response(200 if found else 500)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


def compute() -> None:
    while time.process_time() < 60:
        until = time.process_time() + (0.02 if (FOLDER / "compute").exists() else 0)
        while time.process_time() < until:
            pass
        time.sleep(0.02)


if __name__ == "__main__":
    threading.Thread(target=compute, daemon=True).start()
    port = int(sys.argv[sys.argv.index("--port") + 1])
    ThreadingHTTPServer(("127.0.0.1", port), Pages).serve_forever()
