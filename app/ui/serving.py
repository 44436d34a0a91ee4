"""What the lab serves beside the page: its pictures and its own scripts; and who may ask for them.

The routes stand before Gradio's. Nothing is served by a path that the browser chose: a picture is
looked up by its hash, a script by its name in a fixed table.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Collection
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.store.reader import Reader
from app.ui.files_in_memory import ASKED_AGAIN, FOR_EVER, FilesInMemory
from app.ui.live import ASSETS_URL, POLL_URL, LivePage
from dgpo_core.errors import StoreError

COMPONENTS = Path(__file__).parent / "components"
PICTURE_NAME = re.compile(r"[0-9a-f]{64}\.png")
INLINE_BYTES = 8192
"""Up to this size a picture is sent with the answer that names it; asking for it would cost the lab more."""
CONTENT_POLICY = (
    # Gradio's page has inline scripts and compiles component scripts with Function(); all else stays at home.
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; connect-src 'self'; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": CONTENT_POLICY,
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def picture_url(sha: str) -> str:
    """Where the browser finds a picture of the store."""
    return f"/pictures/{sha}.png"


def picture_urls(reader: Reader, shas: Collection[str]) -> dict[str, str]:
    """Where the browser finds each of these: a small one in its own address, so that it need not ask again."""
    small = reader.small_pictures(shas, INLINE_BYTES)
    inline = {sha: "data:image/png;base64," + b64encode(png).decode() for sha, png in small.items()}
    return {sha: inline.get(sha) or picture_url(sha) for sha in shas}


def routes(reader: Reader) -> list[Route]:
    """Routes of pictures and scripts."""

    def picture(request: Request) -> Response:
        name = request.path_params["name"]
        if not PICTURE_NAME.fullmatch(name):
            return PlainTextResponse("No such picture.", status_code=404)
        try:
            png = reader.picture(name.removesuffix(".png"))
        except StoreError as error:
            return PlainTextResponse(str(error), status_code=503)
        if png is None:
            return PlainTextResponse("No such picture.", status_code=404)
        return Response(png, media_type="image/png", headers={"Cache-Control": "private, max-age=31536000, immutable"})

    scripts = {path.name: path for path in COMPONENTS.glob("*.js")} | {"plotly.min.js": plotly_script()}
    return [
        Route(POLL_URL, poll, methods=["POST"]),  # the first: every page asks it again and again
        Route("/pictures/{name}", picture),
        Route(ASSETS_URL + "/{name}", FilesInMemory(scripts, ASKED_AGAIN).answer),
        Route("/assets/{name}", FilesInMemory(gradio_files(), FOR_EVER).answer),
    ]


def gradio_files() -> dict[str, Path]:
    """Gradio's own scripts, styles and fonts by name, each with a mark of its content in the name."""
    folder = Path(str(files("gradio"))) / "templates" / "frontend" / "assets"
    return {path.name: path for path in folder.iterdir()}


async def poll(request: Request) -> Response:
    """What is new for an open page, from the topics of the page that is served."""
    try:
        asked = orjson.loads(await request.body())
    except orjson.JSONDecodeError:
        asked = None
    if not isinstance(asked, dict):
        return PlainTextResponse("A page asks with a JSON object: token, run, topics.", status_code=400)
    page: LivePage = request.app.get_blocks()
    return Response(await run_in_threadpool(page.live.poll, asked), media_type="application/json")


def plotly_script() -> Path:
    """plotly.js as it lies in the plotly wheel; nothing is fetched from elsewhere."""
    return Path(str(files("plotly"))) / "package_data" / "plotly.min.js"


def middleware(host: str) -> list[Middleware]:
    """Only this machine's names are answered, foreign pages cannot post, and every answer carries safe headers."""
    names = sorted({host, "127.0.0.1", "localhost", "[::1]"})
    return [
        Middleware(SafeHeaders),
        Middleware(TrustedHostMiddleware, allowed_hosts=names, www_redirect=False),
        Middleware(OwnPagesOnly),
    ]


class SafeHeaders:
    """Adds the headers that keep a page from loading, leaking or framing anything foreign."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SAFE_HEADERS)
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)


class OwnPagesOnly:
    """Refuses every request that changes something and was sent by a page of another origin.

    A request without Origin and Sec-Fetch-Site comes from no browser (a script on this machine) and passes.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD", "OPTIONS") and is_foreign(scope):
            refusal = PlainTextResponse("Refused: this request was sent by a page of another site.", status_code=403)
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)


def is_foreign(scope: Scope) -> bool:
    """Whether a browser says that the request was sent by a page that is not ours."""
    headers = Headers(scope=scope)
    if headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        return True
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("host")
