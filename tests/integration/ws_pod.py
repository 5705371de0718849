"""A pod that speaks WebSocket: sends each message back, and closes as it is told to."""

import argparse
import asyncio
import os
import signal

from websockets.asyncio.server import ServerConnection, serve


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        if isinstance(message, str) and message.startswith("close "):
            await connection.close(int(message.partition(" ")[2]), "as asked")
        elif message == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            await connection.send(message)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    args = parser.parse_args()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with serve(echo, "127.0.0.1", args.port, max_size=None, compression=None):
        await ended.wait()


if __name__ == "__main__":
    asyncio.run(main())
