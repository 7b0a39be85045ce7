"""The plan: every decision about one generation, made before any GPU is touched.

Plain frozen values without tensors, so that the web process makes them and a GPU process reads
them. A plan is a pure function of the client's input and the seed, and can be made again at will.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from wan_local.errors import InvalidPlan
from wan_local.geometry import PATCHED_STRIDE, Size, interpolated_frames, latent_frames

Solver = Literal["unipc", "euler", "dmd"]
Quality = Literal["low", "medium", "high", "maximum"]
WriteMode = Literal["fast", "balanced", "small"]
Target = Literal["high", "low", "both"]
PictureFormat = Literal["jpeg", "png"]
VideoFormat = Literal[
    "h264", "hevc10", "prores422", "prores4444", "dnxhr", "ffv1", "png8", "png16", "exr"
]
Encoder = Literal["software", "nvenc"]
MetadataPolicy = Literal["full", "minimal", "none"]

ENDINGS: dict[VideoFormat, str] = {
    "h264": ".mp4",
    "hevc10": ".mp4",
    "prores422": ".mov",
    "prores4444": ".mov",
    "dnxhr": ".mov",
    "ffv1": ".mkv",
    "png8": ".zip",
    "png16": ".zip",
    "exr": ".zip",
}
"""What the names of videos end in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file that came with the request; on this machine before a GPU is asked for.

    The engine never sees where it came from, and reads it in a capped child process.
    """

    path: str
    """Absolute."""
    sha256: str
    """Of its bytes, in hexadecimal: what caches and reports know it by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSpec:
    """What to show and what to avoid."""

    text: str
    negative: str = ""
    expand: bool = False
    """Let a language model rewrite the text first."""
    expander: str | None = None
    """Folder of the language model that does it here; None if it was done before the plan, or is
    not done at all."""
    written: str | None = None
    """What the client wrote, if *text* is an expansion of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingSpec:
    """How noise becomes latents."""

    seed: int
    """Of the CPU noise generator, 0 to 2**63 - 1."""
    steps: int
    """Denoising steps over both experts."""
    shift: float
    """Time shift of Esser et al. 2024 (https://arxiv.org/abs/2403.03206); 1 shifts nothing."""
    boundary: float | None
    """Noise level, 0 to 1, from which on down the low-noise expert works; None for one expert."""
    guidance_high: float
    """Classifier-free guidance scale of the high-noise, or only, expert; 1: without guidance."""
    guidance_low: float
    """Classifier-free guidance scale of the low-noise expert; 1 runs without guidance."""
    solver: Solver = "unipc"

    def __post_init__(self) -> None:
        if self.steps < 1:
            msg = f"steps must be at least 1, got {self.steps}"
            raise InvalidPlan(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraRef:
    """A LoRA to apply for this generation only."""

    name: str
    scale: float = 1.0
    target: Target = "high"
    """The expert, or both, that it changes."""
    file: SourceFile | None = None
    """None for a LoRA of the catalog, which the engine finds in the weights directory by name."""
    required: bool = True
    """Whether to refuse the plan where a LoRA of the catalog is missing; or run without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InterpolationSpec:
    """New frames between the generated ones."""

    model: Literal["film", "rife"]
    frames_between: int
    adjust_fps: bool = True
    """Raise the frame rate so that the duration stays; otherwise the video becomes longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetySpec:
    """What is looked at before and after generation, and by whom.

    The client asks for the checks; the server's policy decides on them and fills in the rest.
    """

    check_input: bool = False
    check_output: bool = False
    classifier: str | None = None
    """Folder of the image classifier; None if no picture is looked at."""
    text_classifier: str | None = None
    """Folder of a text classifier; None if there is none."""
    words: str | None = None
    """File of words that a prompt must not hold; None if there is none."""
    labels: tuple[str, ...] = ("nsfw",)
    """What a classifier calls the unwanted, in small letters."""
    threshold: float = 0.5
    """Probability above which something is refused, 0 to 1."""
    samples: int = 8
    """Frames of a video that are looked at, spread evenly over it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodingSpec:
    """How frames become a file."""

    quality: Quality = "high"
    write_mode: WriteMode = "balanced"
    format: VideoFormat = "h264"
    """What clients of the API get, or what the operator's studio works with."""
    encoder: Encoder = "software"
    """`nvenc` uses the GPU's own encoder for H.264 and HEVC, where a trial shows that it works."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartSpec:
    """A video or picture that denoising starts from, in the place of noise alone."""

    file: SourceFile
    strength: float
    """Share of the schedule that is run, 0 to 1; 1 keeps nothing of the file."""
    fps: float | None = None
    """Frame rate to resample a video to; None takes its frames as they are."""

    def __post_init__(self) -> None:
        if not 0 < self.strength <= 1:
            msg = f"strength must be above 0 and at most 1, got {self.strength}"
            raise InvalidPlan(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureSpec:
    """How the single frame of an image plan is written."""

    format: PictureFormat = "jpeg"

    @property
    def file_ending(self) -> str:
        """How the image file's name ends, with the dot."""
        return ".jpg" if self.format == "jpeg" else ".png"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSpec:
    """What the file says of how it was made."""

    request: str = "{}"
    """JSON of who asked for what: endpoint, and the request after its defaults. The engine copies
    it and reads nothing in it."""
    policy: MetadataPolicy = "full"
    """How much of the record goes into the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoPlan:
    """All decisions for one generation.

    Raises:
        InvalidPlan: If no checkpoint could ever carry it out.
    """

    model: str
    """Name of a row of `catalog.MODELS`."""
    size: Size
    """As asked for; a small checkpoint maps it onto a size of its own."""
    num_frames: int
    """As asked for; the VAE makes 4k+1 of them and the surplus is cut off."""
    fps: float
    """Of the generated frames, before interpolation."""
    prompt: PromptSpec
    sampling: SamplingSpec
    encoding: EncodingSpec = field(default_factory=EncodingSpec)
    interpolation: InterpolationSpec | None = None
    safety: SafetySpec = field(default_factory=SafetySpec)
    loras: tuple[LoraRef, ...] = ()
    first_frame: SourceFile | None = None
    """The picture that the video begins with (image to video)."""
    last_frame: SourceFile | None = None
    """The picture that it ends with."""
    start: StartSpec | None = None
    """What it is made out of (video to video, image to image)."""
    reverse: bool = False
    """Write the frames last to first."""
    preview_every: int = 0
    """Steps from one rough picture of the half-done video to the next; 0 shows none. The video is
    the same either way."""
    picture: PictureSpec | None = None
    """Set for a plan of one frame whose output is an image file and not a video."""
    notes: tuple[str, ...] = ()
    """Sentences for the job's log: what the planner decided that the client might not expect."""
    remarks: tuple[str, ...] = ()
    """Warnings for the job's log: what the server knew beforehand that the client will not get."""
    record: RecordSpec | None = None
    """None if nobody wants to know; it needs the hashes of the weights."""

    def __post_init__(self) -> None:
        if self.num_frames < 1:
            msg = f"num_frames must be at least 1, got {self.num_frames}"
            raise InvalidPlan(msg)
        if self.size.width % PATCHED_STRIDE or self.size.height % PATCHED_STRIDE:
            msg = f"width and height must be multiples of {PATCHED_STRIDE}, got {self.size}"
            raise InvalidPlan(msg)
        if self.preview_every < 0:
            msg = f"preview_every must not be negative, got {self.preview_every}"
            raise InvalidPlan(msg)
        if self.fps <= 0:
            msg = f"fps must be positive, got {self.fps}"
            raise InvalidPlan(msg)
        if self.picture and self.num_frames != 1:
            msg = f"a picture is 1 frame, not {self.num_frames}"
            raise InvalidPlan(msg)
        if self.steps_run < 1:
            msg = (
                f"strength {self.start.strength if self.start else 1} of {self.sampling.steps} "
                "steps leaves no step to run: raise the strength or the number of steps"
            )
            raise InvalidPlan(msg)
        if self.last_frame and (self.first_frame is None or self.num_frames < 2):
            msg = "a picture to end with needs one to begin with, and at least 2 frames"
            raise InvalidPlan(msg)

    @property
    def steps_run(self) -> int:
        """Steps of the schedule that are run: all, or the last ones if there is a start."""
        steps = self.sampling.steps
        return steps if self.start is None else min(steps, int(steps * self.start.strength))

    @property
    def file_ending(self) -> str:
        """How the output file's name ends, with the dot."""
        return ENDINGS[self.encoding.format] if self.picture is None else self.picture.file_ending

    def allowing_missing_loras(self) -> VideoPlan:
        """Return this plan, to run on the base weights where the catalog's LoRAs are missing."""
        loras = tuple(replace(lora, required=False) for lora in self.loras)
        return replace(self, loras=loras)

    @property
    def pictures(self) -> tuple[tuple[str, SourceFile], ...]:
        """The pictures and videos that came with the request, each with the field's name."""
        found = {
            "first_frame": self.first_frame,
            "last_frame": self.last_frame,
            "start": self.start.file if self.start else None,
        }
        return tuple((name, file) for name, file in found.items() if file is not None)

    @property
    def latent_frames(self) -> int:
        """Latent frames that the transformer works on."""
        return latent_frames(self.num_frames)

    @property
    def written_frames(self) -> int:
        """Frames of the file: the generated ones and those between them."""
        between = self.interpolation.frames_between if self.interpolation else 0
        return interpolated_frames(self.num_frames, between)

    @property
    def written_fps(self) -> float:
        """Frame rate of the file."""
        if self.interpolation is None or not self.interpolation.adjust_fps:
            return self.fps
        return self.fps * (self.interpolation.frames_between + 1)
