"""Pictures as PNG bytes."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from dgpo_core.errors import PromptError
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


def png_of_file(file: Path) -> bytes:
    """A picture file as PNG in RGB, turned the way its camera was held; a PNG that is so already stays as it is.

    Raises:
        PromptError: it is not a picture, or a damaged or excessively large one.
    """
    try:
        data = file.read_bytes()
        with Image.open(BytesIO(data)) as opened:
            opened.load()
            if opened.format == "PNG" and opened.mode == "RGB":
                return data
            upright = ImageOps.exif_transpose(opened)
            buffer = BytesIO()
            upright.convert("RGB").save(buffer, format="PNG", compress_level=3)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PromptError(f"picture {file.name[:80]!r} cannot be read: {error}") from error
    return buffer.getvalue()
