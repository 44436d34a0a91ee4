"""Files that stay as they are while the lab runs: scripts and styles, read once and answered from memory.

A page is some ninety of them. From the disk each costs the lab several turns through its worker threads, three times
what it costs from memory, and the page that waits for them is ready later (`benchmarks/page.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from mimetypes import guess_type
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

ASKED_AGAIN = "no-cache"
"""The browser asks each time whether what it has is the newest."""
FOR_EVER = "public, max-age=31536000, immutable"
"""For a file whose name changes with its content."""


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    media_type: str
    tag: str


class FilesInMemory:
    """A table of files by name; nothing else is found, whatever path a browser makes up."""

    def __init__(self, paths: Mapping[str, Path], cache_control: str) -> None:
        self._paths = paths
        self._cache_control = cache_control
        self._read: dict[str, _File] = {}

    async def answer(self, request: Request) -> Response:
        """The file that the path parameter `name` names, or only that it has not changed."""
        name = request.path_params["name"]
        if name not in self._paths:
            return PlainTextResponse("No such file.", status_code=404)
        file = self._file(name)
        headers = {"ETag": file.tag, "Cache-Control": self._cache_control}
        if request.headers.get("if-none-match") == file.tag:
            return Response(status_code=304, headers=headers)
        return Response(file.content, media_type=file.media_type, headers=headers)

    def _file(self, name: str) -> _File:
        if name not in self._read:
            content = self._paths[name].read_bytes()
            tag = f'"{blake2b(content, digest_size=16).hexdigest()}"'
            self._read[name] = _File(content, _media_type(name), tag)
        return self._read[name]


def _media_type(name: str) -> str:
    """Scripts are always text/javascript; machines differ in what they say of that ending."""
    return "text/javascript" if name.endswith(".js") else guess_type(name)[0] or "application/octet-stream"
