"""The picture of GenEval's self-test: a stop sign, which detectors know even as a drawing, and nothing."""

from __future__ import annotations

from math import cos, pi, sin

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dgpo_core.rewards.contract import Picture
from dgpo_core.rewards.supplies import Note

SIZE = 512
PROMPT = "a photo of a stop sign"
NOTE: Note = {"tag": "single_object", "include": [{"class": "stop sign", "count": 1}]}


def blank() -> Picture:
    """A grey sky without anything."""
    return np.full((SIZE, SIZE, 3), 170, np.uint8)


def stop_sign() -> Picture:
    """A red octagon with white rim and the word STOP, on a pole."""
    picture = Image.fromarray(blank())
    pencil, middle = ImageDraw.Draw(picture), (SIZE / 2, SIZE * 0.4)
    pencil.rectangle((SIZE / 2 - 8, SIZE * 0.4, SIZE / 2 + 8, SIZE), fill=(110, 110, 110))
    for radius, color in ((150, (250, 250, 250)), (138, (190, 20, 30))):
        corners = [pi / 8 + index * pi / 4 for index in range(8)]
        pencil.polygon([(middle[0] + radius * cos(a), middle[1] + radius * sin(a)) for a in corners], fill=color)
    pencil.text(middle, "STOP", fill=(250, 250, 250), font=ImageFont.load_default(size=88), anchor="mm")
    return np.asarray(picture)
