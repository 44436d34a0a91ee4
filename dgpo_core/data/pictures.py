"""Pictures as bytes, both ways."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from dgpo_core.errors import PromptError, RewardError
from dgpo_core.rewards.contract import Picture

FORMATS = ("PNG", "JPEG", "WEBP")
FILE_FORMATS = (*FORMATS, "BMP", "GIF")
"""Others are not opened: Pillow hands some of them to programs of the system."""
MAX_PIXELS = 4096 * 4096


def png_bytes(picture: Picture) -> bytes:
    """The picture, uint8 (H, W, 3), as PNG; lightly compressed, because it is done for every sample of a run."""
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", compress_level=3)
    return buffer.getvalue()


def picture_of(png: bytes) -> Picture:
    """The picture that png_bytes wrote."""
    with Image.open(BytesIO(png)) as image:
        return np.array(image.convert("RGB"))


def picture_in(data: bytes, name: str) -> Picture:
    """The picture in the bytes of a file, without transparency; name is what messages call it.

    Raises:
        RewardError: it is no PNG, JPEG or WebP, is torn, or has more than MAX_PIXELS.
    """
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise RewardError(
                    f"{name} has {image.width} x {image.height} pixels; at most {MAX_PIXELS} are allowed. Shrink it."
                )
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, RewardError):
            raise
        raise RewardError(f"{name} is no picture that can be read. Give a PNG, JPEG or WebP file.") from error


def png_of_file(file: Path) -> bytes:
    """A picture file as PNG in RGB, turned the way its camera was held; a PNG that is so already stays as it is.

    Raises:
        PromptError: it is not a picture, or a damaged or excessively large one.
    """
    try:
        data = file.read_bytes()
        with Image.open(BytesIO(data), formats=FILE_FORMATS) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise PromptError(f"picture {file.name[:80]!r} has more than {MAX_PIXELS} pixels")
            opened.load()
            if opened.format == "PNG" and opened.mode == "RGB":
                return data
            return png_bytes(np.asarray(ImageOps.exif_transpose(opened).convert("RGB")))
    except PromptError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PromptError(f"picture {file.name[:80]!r} cannot be read: {error}") from error
