"""Pictures of one colour, and a person's own folders of ranked ones."""

from io import BytesIO
from pathlib import Path

from PIL import Image

HOSTILE = '=cmd|" /C calc"!A1 <b>${x}</b> \u202e🦊'


def png(colour: str, kind: str = "PNG") -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, kind)
    return buffer.getvalue()


def write_ranked(source: Path) -> Path:
    """Three folders: one with an order and a tie, one with a prompt of its own, one without places."""
    for folder, files in {
        "a_red_circle": {
            "1.png": png("red"),
            "2 nice.jpg": png("blue", "JPEG"),
            "2b.png": png("green"),
            "10.webp": png("gray", "WEBP"),
        },
        "hostile": {"1.png": png("white"), "2.png": png("black")},
        "unjudged": {"one.png": png("pink"), "two.png": png("cyan"), "notes.txt": b"no picture"},
    }.items():
        (source / folder).mkdir(parents=True)
        for name, data in files.items():
            (source / folder / name).write_bytes(data)
    (source / "hostile" / "prompt.txt").write_text(HOSTILE)
    return source
