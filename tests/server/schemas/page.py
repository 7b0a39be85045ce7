"""The hosted API page, as tables: every endpoint's fields in its order, with their defaults.

`REQUIRED` stands where a field has none. What the page leaves open was settled by fal's own OpenAPI
documents and type files; each such place has a comment.
"""

from __future__ import annotations

from server.schemas import image, video

REQUIRED = "(required)"
BASE = "fal-ai/wan/"

# Printed without a default on the page; false in fal's OpenAPI documents.
CHECKS = {
    "enable_safety_checker": False,
    "enable_output_safety_checker": False,
    "enable_prompt_expansion": False,
}
FILE = {"video_quality": "high", "video_write_mode": "balanced"}
SMOOTH = {
    "interpolator_model": "film",
    "num_interpolated_frames": 1,
    "adjust_fps_for_interpolation": True,
}
# The page prints no default for the 5B endpoints; 0 in fal's own document of `/distill`.
SMALL_SMOOTH = SMOOTH | {"num_interpolated_frames": 0}
WIDE = {"resolution": "720p", "aspect_ratio": "16:9"}
AUTO = {"resolution": "720p", "aspect_ratio": "auto"}
TWO = {"acceleration": "regular", "guidance_scale": 3.5, "guidance_scale_2": 4.0}
# No names are printed for `loras` and `image_size`; fal's type files have them.
LORAS = {"loras": [], "reverse_video": False}
NEGATIVE = {"negative_prompt": ""}
SEED = {"seed": None}
PROMPT = {"prompt": REQUIRED}
PICTURE = {"image_url": REQUIRED} | PROMPT
TIME = {"num_frames": 81, "frames_per_second": 16}
SMALL_TIME = {"num_frames": 81, "frames_per_second": 24}
END = {"end_image_url": None}

TEXT_TO_VIDEO = (
    PROMPT | NEGATIVE | TIME | SEED | WIDE | {"num_inference_steps": 27} | CHECKS | TWO
    | {"shift": 5.0} | SMOOTH | FILE
)  # fmt: skip
IMAGE_TO_VIDEO = (
    PICTURE | TIME | NEGATIVE | SEED | AUTO | {"num_inference_steps": 27} | CHECKS | TWO
    | {"shift": 5.0} | SMOOTH | FILE
)  # fmt: skip
TEXT_TO_IMAGE = (
    PROMPT | NEGATIVE | SEED | {"num_inference_steps": 27} | CHECKS | TWO | {"shift": 2.0}
)
TURBO = SEED | WIDE | CHECKS | {"acceleration": "regular"} | FILE
SMALL_END = {"guidance_scale": 3.5, "shift": 5.0} | SMALL_SMOOTH | FILE

PAGE = {
    BASE + endpoint: (schema, fields)
    for endpoint, schema, fields in [
        ("v2.2-a14b/text-to-video", video.TextToVideoInput, TEXT_TO_VIDEO),
        ("v2.2-a14b/text-to-video/turbo", video.TextToVideoTurboInput, PROMPT | TURBO),
        ("v2.2-a14b/text-to-video/lora", video.TextToVideoLoraInput, TEXT_TO_VIDEO | LORAS),
        (
            "v2.2-a14b/image-to-video",
            video.ImageToVideoInput,
            # 3.5 for this endpoint alone, and no slip: fal's OpenAPI document has it too.
            IMAGE_TO_VIDEO | {"guidance_scale_2": 3.5} | END,
        ),
        (
            "v2.2-a14b/image-to-video/turbo",
            video.ImageToVideoTurboInput,
            PICTURE | TURBO | AUTO | END,
        ),
        (
            "v2.2-a14b/image-to-video/lora",
            video.ImageToVideoLoraInput,
            # The last frame came to this endpoint after the page was printed.
            IMAGE_TO_VIDEO | END | LORAS,
        ),
        (
            "v2.2-a14b/video-to-video",
            video.VideoToVideoInput,
            {"video_url": REQUIRED, "prompt": REQUIRED, "strength": 0.9}
            | {name: IMAGE_TO_VIDEO[name] for name in list(IMAGE_TO_VIDEO)[2:]}
            | {"resample_fps": False},
        ),
        (
            "v2.2-a14b/text-to-image",
            image.TextToImageInput,
            TEXT_TO_IMAGE | {"image_size": "square_hd"},
        ),
        (
            "v2.2-a14b/text-to-image/lora",
            image.TextToImageLoraInput,
            TEXT_TO_IMAGE | LORAS | {"image_size": "square_hd", "image_format": "jpeg"},
        ),
        (
            "v2.2-a14b/image-to-image",
            image.ImageToImageInput,
            PICTURE | {"strength": 0.5} | NEGATIVE | SEED | {"aspect_ratio": "auto"}
            | {"num_inference_steps": 27} | CHECKS | TWO | {"shift": 2.0}
            | {"image_size": None, "image_format": "jpeg"},
        ),
        (
            "v2.2-5b/text-to-video",
            video.SmallTextToVideoInput,
            PROMPT | NEGATIVE | SMALL_TIME | SEED | WIDE | {"num_inference_steps": 40} | CHECKS
            | SMALL_END,
        ),
        (
            "v2.2-5b/text-to-video/distill",
            video.SmallDistilledTextToVideoInput,
            PROMPT | SMALL_TIME | SEED | WIDE | {"num_inference_steps": 40} | CHECKS | SMALL_END
            | {"guidance_scale": 1.0},
        ),
        (
            "v2.2-5b/text-to-video/fast-wan",
            video.SmallFastTextToVideoInput,
            PROMPT | NEGATIVE | SMALL_TIME | SEED | WIDE | CHECKS | {"guidance_scale": 3.5}
            | SMALL_SMOOTH | FILE,
        ),
        (
            "v2.2-5b/image-to-video",
            video.SmallImageToVideoInput,
            PICTURE | SMALL_TIME | NEGATIVE | SEED | AUTO | {"num_inference_steps": 40} | CHECKS
            | SMALL_END,
        ),
        (
            "v2.2-5b/text-to-image",
            image.SmallTextToImageInput,
            PROMPT | NEGATIVE | SEED | {"num_inference_steps": 40} | CHECKS
            | {"guidance_scale": 3.5, "shift": 2.0}
            | {"image_size": "square_hd", "image_format": "jpeg"},
        ),
    ]
}  # fmt: skip

SMALL = "v2.2-5b"
RANGES = {
    "num_frames": (17, 161),
    "frames_per_second": (4, 60),
    "guidance_scale": (1, 10),
    "guidance_scale_2": (1, 10),
    "shift": (1, 10),
    "num_interpolated_frames": (0, 4),
    "seed": (0, 2**63 - 1),
    "strength": (0, 1),
}
CHOICES = {
    "acceleration": ["none", "regular"],
    "video_quality": ["low", "medium", "high", "maximum"],
    "video_write_mode": ["fast", "balanced", "small"],
    "interpolator_model": ["none", "film", "rife"],
    "image_format": ["png", "jpeg"],
}


def ranges(endpoint):
    """The lowest and highest value of each field of numbers that *endpoint* has."""
    steps = (2, 50) if SMALL in endpoint else (2, 40)
    all = RANGES | {"num_inference_steps": steps}
    return {name: all[name] for name in PAGE[endpoint][1] if name in all}


def choices(endpoint):
    """The values of each field of *endpoint* that has a list of them."""
    fields = PAGE[endpoint][1]
    # The text of fast-wan speaks of two resolutions, its list has three.
    small = SMALL in endpoint and "fast-wan" not in endpoint
    from_file = fields.keys() & {"image_url", "video_url"}
    named = CHOICES | {
        "resolution": ["580p", "720p"] if small else ["480p", "580p", "720p"],
        "aspect_ratio": [*(["auto"] if from_file else []), "16:9", "9:16", "1:1"],
    }
    return {name: named[name] for name in fields if name in named}


def smallest(endpoint):
    """The shortest body that *endpoint* accepts."""
    fields = PAGE[endpoint][1]
    return {
        name: "https://example.org/a" if name.endswith("_url") else "a"
        for name, default in fields.items()
        if default == REQUIRED
    }
