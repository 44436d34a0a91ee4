"""Pictures as PNG bytes."""

from __future__ import annotations

from io import BytesIO

from PIL import Image

from dgpo_core.rewards.contract import Picture


def png_bytes(picture: Picture) -> bytes:
    """The picture, uint8 (H, W, 3), as PNG; lightly compressed, because it is done for every sample of a run."""
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", compress_level=3)
    return buffer.getvalue()
