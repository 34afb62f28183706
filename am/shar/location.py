"""Files of a folder, an HTTP server or an object store, read whole.

HTTP needs nothing more; other URLs (``s3://``, ``gs://``, ...) go through lhotse, which wants
``smart_open``, an AIStore client or the Multi-Storage Client for them.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import logging
import time
import urllib.error
import urllib.request
import zlib
from pathlib import Path

from lhotse.serialization import open_best

from am.errors import InputError
from am.outputs import sha256_of_file

log = logging.getLogger(__name__)

# A corpus is read for weeks; a server that restarts must not end the training.
ATTEMPTS = 4
SECONDS_BEFORE_RETRY = 2.0
TIMEOUT_SECONDS = 60.0
GZIP_SUFFIX, GZIP_MAGIC = ".gz", b"\x1f\x8b"
STATUS_TO_RETRY = (408, 429, 500, 502, 503, 504)


def is_url(location: str) -> bool:
    """Whether it is a URL rather than a folder."""
    return "://" in location


def join(location: str, name: str) -> str:
    """The path or URL of a file at a location."""
    return f"{location.rstrip('/')}/{name}"


def read_file(location: str, name: str, sha256: str | None = None) -> bytes:
    """The content of a file; of a ``.gz`` file what it holds uncompressed.

    Args:
        location: a folder or a URL.
        name: of the file in it.
        sha256: checksum (hex) of the content, if known.

    Raises:
        InputError: it is missing, cannot be reached, or has another checksum.
    """
    path = join(location, name)
    if path.startswith(("http://", "https://")):
        content = _read_http(path)
    elif is_url(path):
        content = _read_through_lhotse(path)
    else:
        content = _read_local(Path(path))
    try:
        content = _uncompressed(name, content)
        is_whole = sha256 is None or hashlib.sha256(content).hexdigest() == sha256
    except (OSError, EOFError, zlib.error):
        is_whole = False
    if not is_whole:
        raise InputError(
            f"{path}: altered or truncated (checksum differs); copy the shard again, or make it "
            "again with utils/to_shar.py"
        )
    return content


def content_sha256(path: Path) -> str:
    """The checksum (hex) that :func:`read_file` compares."""
    if path.suffix != GZIP_SUFFIX:
        return sha256_of_file(path)
    return hashlib.sha256(_uncompressed(path.name, path.read_bytes())).hexdigest()


def _uncompressed(name: str, content: bytes) -> bytes:
    """What a file holds: some clients of object stores have uncompressed it on the way."""
    is_compressed = name.endswith(GZIP_SUFFIX) and content.startswith(GZIP_MAGIC)
    return gzip.decompress(content) if is_compressed else content


def _read_local(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror}; copy the shard again, or make it again with "
            "utils/to_shar.py"
        ) from error


def _read_http(url: str) -> bytes:
    """Tried again after failures that may pass."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
                return bytes(response.read())
        except urllib.error.HTTPError as error:
            fault = f"HTTP {error.code} {error.reason}"
            if error.code not in STATUS_TO_RETRY:
                raise InputError(f"{url}: {fault}; is the file on the server?") from error
        except (OSError, http.client.HTTPException) as error:
            fault = " ".join(str(error).split()) or repr(error)
        if attempt < ATTEMPTS:
            log.warning("%s: %s; trying again", url, fault)
            time.sleep(SECONDS_BEFORE_RETRY**attempt)
    raise InputError(f"{url}: {fault}, {ATTEMPTS} times; is the server running?")


def _read_through_lhotse(url: str) -> bytes:
    try:
        with open_best(url, "rb") as stream:
            return bytes(stream.read())
    except Exception as error:  # whatever the store's client raises
        # lhotse replaces what went wrong by a guess that the client is missing.
        cause = error.__context__ or error
        reason = " ".join(str(cause).split()) or repr(cause)
        raise InputError(
            f"{url}: {reason}; lhotse opens such URLs with smart_open (pip install smart_open), an "
            "AIStore client or the Multi-Storage Client"
        ) from error
