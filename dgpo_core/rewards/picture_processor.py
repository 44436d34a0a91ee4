"""What turns pictures and words into a vision-language model's input, as the model's own files say."""

from __future__ import annotations

from typing import Any

VIDEO = "video_processor"


class _WithoutVideos:
    """Comes before a processor of transformers and leaves out what it has for videos, which needs torchvision."""

    @classmethod
    def get_attributes(cls) -> list[str]:
        return [one for one in super().get_attributes() if one != VIDEO]  # type: ignore[misc]


def picture_processor(place: str) -> Any:
    """The processor of the model in a folder, or on the hub. Where it knows videos too, that part is not loaded: no
    judge is shown one, and transformers would refuse the whole without torchvision."""
    from transformers import PROCESSOR_MAPPING, AutoConfig, AutoProcessor

    kind = type(AutoConfig.from_pretrained(place))
    usual = PROCESSOR_MAPPING.get(kind, AutoProcessor)
    # Parts are handed over in order, so only the last one can be left out.
    if usual is AutoProcessor or usual.get_attributes()[-1] != VIDEO:
        return AutoProcessor.from_pretrained(place)
    narrowed: Any = type(usual.__name__, (_WithoutVideos, usual), {})
    return narrowed.from_pretrained(place)
