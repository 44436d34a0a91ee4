"""Asking a server in JSON over HTTP: patient with one that is busy, strict with what it answers, and never pickle."""

from __future__ import annotations

import base64
import json
from math import ceil
from typing import Any

import urllib3

from dgpo_core.data.pictures import png_bytes
from dgpo_core.errors import RewardError
from dgpo_core.rewards.contract import Picture
from dgpo_core.rewards.supplies import Supplies

TRIES_AGAIN, TRIES_AFTER_SILENCE = 5, 1
"""How often it is asked again: at most, and after it took the question and did not answer, which costs most."""
LONGEST_SILENCE, LONGEST_CONNECTING = 120.0, 10.0
"""Seconds without a byte after which an answer, or a connection, is given up."""
SHARE_OF_PATIENCE = 5
"""One silence may take this part of reward.seconds, so that a server that hangs is given up before the run is."""
NUM_AT_ONCE = 8
"""The most questions that are asked at the same time; servers of language models work on many together."""
LARGEST_ANSWER = 16_000_000
BUSY = (429, 502, 503, 504)


class ServerSilentError(Exception):
    """The server could not be reached or stayed busy; its pictures are left out."""


class Server:
    """One HTTP server, which may be asked from several threads. address is checked when it is made.

    seconds is how long it may be silent; half of it is the most that a Retry-After may ask for.

    Raises:
        RewardError: the address is no http or https address.
    """

    def __init__(
        self, address: str, key: str = "", *, seconds: float = LONGEST_SILENCE, tries_again: int = TRIES_AGAIN
    ) -> None:
        try:
            parsed = urllib3.util.parse_url(address)
        except urllib3.exceptions.LocationParseError:
            parsed = urllib3.util.Url()
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise RewardError(
                f"reward.server must be an address such as http://127.0.0.1:8000, got {address[:80]!r}. Correct it."
            )
        self.address, self.seconds = address.rstrip("/"), seconds
        retries = urllib3.Retry(
            total=tries_again,
            read=min(tries_again, TRIES_AFTER_SILENCE),
            redirect=0,
            status_forcelist=BUSY,
            allowed_methods=None,
            backoff_factor=0.5,
            backoff_max=seconds / 2,
            respect_retry_after_header=True,
            retry_after_max=ceil(seconds / 2),
            raise_on_status=False,
        )
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        timeout = urllib3.Timeout(connect=min(seconds / 4, LONGEST_CONNECTING), read=seconds)
        self._pool = urllib3.PoolManager(retries=retries, timeout=timeout, headers=headers, maxsize=NUM_AT_ONCE)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The JSON object that the server answers.

        Raises:
            ServerSilentError: it cannot be reached, or is busy however often it is asked.
            RewardError: it refuses, or its answer is no JSON object.
        """
        try:
            reply = self._pool.request(
                "POST", f"{self.address}{path}", json=body, redirect=False, preload_content=False
            )
            text = reply.read(LARGEST_ANSWER + 1)
            reply.release_conn()
        except urllib3.exceptions.HTTPError as error:
            raise ServerSilentError(f"{self.address} cannot be reached: {_reason(error)}") from error
        if reply.status in BUSY:
            raise ServerSilentError(
                f"{self.address} stayed busy (HTTP {reply.status}) through {TRIES_AGAIN} tries more"
            )
        shown = text[:200].decode("utf-8", "replace")
        if reply.status != 200:
            raise RewardError(f"{self.address}{path} answered HTTP {reply.status}: {shown!r}. Check reward.server.")
        if len(text) > LARGEST_ANSWER:
            raise RewardError(f"{self.address}{path} answered more than {LARGEST_ANSWER} bytes. Check reward.server.")
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise RewardError(f"{self.address}{path} answered {shown!r}, which is no JSON. Check it.") from error
        if not isinstance(answer, dict):
            raise RewardError(f"{self.address}{path} answered {shown!r}. It must answer a JSON object.")
        return answer


def server_of(supplies: Supplies) -> Server:
    """The server of the settings, as patient as reward.seconds allows.

    Raises:
        RewardError: as Server.
    """
    seconds = min(LONGEST_SILENCE, supplies.seconds / SHARE_OF_PATIENCE)
    return Server(supplies.server, supplies.server_key, seconds=seconds)


def png_text(picture: Picture) -> str:
    """The picture as PNG in base64."""
    return base64.b64encode(png_bytes(picture)).decode("ascii")


def _reason(error: urllib3.exceptions.HTTPError) -> str:
    reason = getattr(error, "reason", None) or error
    return str(reason).rpartition(": ")[2][:200]
