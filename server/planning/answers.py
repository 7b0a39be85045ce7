"""A stored file and what the engine said at the end -> the output body."""

from __future__ import annotations

from typing import Any

from server.schemas.common import File, ImageFile, VideoFile
from server.schemas.image import ImageToImageOutput, TextToImageOutput
from server.schemas.video import VideoOutput
from wan_local.events import Finished


def answer_with_video(file: File, finished: Finished) -> dict[str, Any]:
    """Return the output body of a video endpoint."""
    video = VideoFile(
        **file.model_dump(),
        width=finished.size.width,
        height=finished.size.height,
        fps=finished.fps,
        num_frames=finished.num_frames,
        duration=finished.num_frames / finished.fps,
    )
    output = VideoOutput(video=video, prompt=finished.prompt, seed=finished.seed)
    return output.model_dump(mode="json", exclude_none=True)


def answer_with_image(file: File, finished: Finished) -> dict[str, Any]:
    """Return the output body of a text-to-image endpoint, which does not repeat the prompt."""
    output = TextToImageOutput(image=_image(file, finished), seed=finished.seed)
    return output.model_dump(mode="json", exclude_none=True)


def answer_with_changed_image(file: File, finished: Finished) -> dict[str, Any]:
    """Return the output body of the image-to-image endpoint."""
    image = _image(file, finished)
    output = ImageToImageOutput(image=image, prompt=finished.prompt, seed=finished.seed)
    return output.model_dump(mode="json", exclude_none=True)


def _image(file: File, finished: Finished) -> ImageFile:
    size = finished.size
    return ImageFile(**file.model_dump(), width=size.width, height=size.height)
