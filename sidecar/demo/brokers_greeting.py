"""Ask whatever listens at an AMQP URL who it is, without logging in.

Owns the first exchange of AMQP 0-9-1 (specification 4.2.2 and 1.4.2.1: the protocol header is answered with
connection.start, whose server properties name product and version). It must not send a credential.
"""

import asyncio
import re
import ssl
import struct
from urllib.parse import urlsplit

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
FRAME_HEADER = struct.Struct("!BHI")
START_FRAME_BYTES_MAX = 64 * 1024
VERSION_PROPERTY = re.compile(rb"\x07versionS(....)", re.DOTALL)
RETRY_S = 0.1
ATTEMPT_S = 2.0


async def ask_version(url: str, *, timeout_s: float = ATTEMPT_S) -> str:
    """The server's version, such as "3.10.8". OSError when nothing listens, ValueError when it is not RabbitMQ."""
    parts = urlsplit(url)
    secure = parts.scheme == "amqps"
    port = parts.port or (5671 if secure else 5672)
    async with asyncio.timeout(timeout_s):
        reader, writer = await asyncio.open_connection(
            parts.hostname or "127.0.0.1", port, ssl=_unverified() if secure else None
        )
        try:
            writer.write(PROTOCOL_HEADER)
            return _version(await _first_frame(reader))
        finally:
            writer.close()


async def wait_for_version(url: str, *, timeout_s: float) -> str:
    """Ask again until it answers; TimeoutError naming the last failure after `timeout_s`."""
    failure: Exception = TimeoutError("no answer")
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    return await ask_version(url)
                except (OSError, ValueError, asyncio.IncompleteReadError) as error:
                    failure = error
                await asyncio.sleep(RETRY_S)
    except TimeoutError as error:
        raise TimeoutError(f"nothing answered AMQP within {timeout_s:g} s ({failure})") from error


async def _first_frame(reader: asyncio.StreamReader) -> bytes:
    kind, _channel, size = FRAME_HEADER.unpack(await reader.readexactly(FRAME_HEADER.size))
    if kind != 1 or size > START_FRAME_BYTES_MAX:
        raise ValueError("what listens there does not speak AMQP 0-9-1")
    return await reader.readexactly(size)


def _version(start: bytes) -> str:
    found = VERSION_PROPERTY.search(start)
    if found is None:
        raise ValueError("the server's greeting names no version")
    (length,) = struct.unpack("!I", found.group(1))
    return start[found.end() : found.end() + length].decode("ascii", "replace")


def _unverified() -> ssl.SSLContext:
    # Nothing is told and nothing is believed here: the processes verify the certificate when they log in.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
