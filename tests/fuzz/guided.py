"""Coverage-guided fuzzing of both protocols, by hand and for as long as one likes: `README.md` says how.

Needs atheris, which is no dependency of the project. A find is a file that `python -m tests.fuzz.guided SIDE FILE` plays again.
"""

import logging
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["gateway"]):
    from tests.fuzz.http1_laws import client_law, pod_law

from tests.fuzz.http1_seeds import ANSWERS, REQUESTS, SCRAPS
from tests.wire import cut

SEEDS = {"client": REQUESTS, "pod": ANSWERS}
METHODS = (b"POST", b"OPTIONS", b"HEAD")


def play(side: str, data: bytes) -> None:
    """The first byte says how; the second how large the pieces are (0: at once); the rest is what is said."""
    if len(data) < 3:
        return
    how, size, said = data[0], data[1], data[2:]
    pieces = cut(said, range(size, len(said), size) if size else ())
    if side == "client":
        client_law(pieces)
    else:
        pod_law(pieces, method=METHODS[how % 3], clean=how < 128)


def main() -> None:
    """SIDE, then what libFuzzer takes: a folder for the corpus, files to play again, -max_total_time=…"""
    side, *rest = sys.argv[1:]
    logging.disable()
    with tempfile.TemporaryDirectory() as folder:
        for n, seed in enumerate(SEEDS[side]):
            for how, size in ((0, 0), (1, 1), (2, 0), (130, 7)):
                Path(folder, f"{n}-{how}-{size}").write_bytes(bytes((how, size)) + seed)
        words = Path(folder, "words.dict")
        words.write_text(
            "".join('"' + "".join(f"\\x{byte:02x}" for byte in scrap) + '"\n' for scrap in SCRAPS)
        )
        played_again = any(Path(argument).is_file() for argument in rest)
        seeds = [] if played_again else [folder, f"-dict={words}", "-max_len=600"]
        atheris.Setup([sys.argv[0], *rest, *seeds], lambda data: play(side, data))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
