"""Pictures as PNG bytes."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

from dgpo_core.rewards.contract import Picture


def png_bytes(picture: Picture) -> bytes:
    """The picture, uint8 (H, W, 3), as PNG; lightly compressed, because it is done for every sample of a run."""
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", compress_level=3)
    return buffer.getvalue()


def picture_of(png: bytes) -> Picture:
    """The picture that png_bytes wrote."""
    with Image.open(BytesIO(png)) as image:
        return np.array(image.convert("RGB"))
