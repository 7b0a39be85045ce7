"""Every knob of the service, and the only place that reads the environment.

In order of precedence: command-line flags, environment (`WAN_LOCAL_PORT=9000`), the TOML file named
by `WAN_LOCAL_SETTINGS` (default `wan-local.toml` in the working directory), the defaults below.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from wan_local.catalog import Quantization
from wan_local.plan import MetadataPolicy, VideoFormat


def _sendable(token: SecretStr) -> SecretStr:
    # A header is ASCII: found out at the start, and not by every job that would send it.
    value = token.get_secret_value()
    if not (value.isascii() and value.isprintable() and " " not in value):
        msg = "a token is ASCII without spaces; this one was not copied whole"
        raise ValueError(msg)
    return token


Token = Annotated[SecretStr, AfterValidator(_sendable)]

LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def _data_home() -> Path:
    return Path(os.environ.get("XDG_DATA_HOME", "~/.local/share")).expanduser() / "wan-local"


def _hub_cache() -> Path:
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface"))
    return Path(os.environ.get("HF_HUB_CACHE", home / "hub")).expanduser()


class Settings(BaseSettings):
    """What an operator can set."""

    model_config = SettingsConfigDict(
        env_prefix="WAN_LOCAL_",
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,  # some are secrets
    )

    data_dir: Path = Field(default_factory=lambda: _data_home() / "data")
    """Jobs, files, keys and certificates. One running server owns it."""
    weights_dir: Path = Field(default_factory=lambda: _data_home() / "weights")
    """One folder per model, named by the model's id, in the diffusers layout."""

    lora_roots: tuple[Path, ...] = ()
    """Folders whose LoRA files requests may name by their paths."""
    hub_cache: Path = Field(default_factory=_hub_cache)
    """Hugging Face's cache: what `hf download` put there is found without a network."""
    hub_token: Token | None = None
    """Sent to huggingface.co, and nowhere else, for the LoRAs of private and gated repositories."""
    civitai_token: Token | None = None
    """Sent to civitai.com, and nowhere else, for the LoRAs that it gives only to its users."""
    turbo_without_lora: bool = False
    """Let turbo endpoints run four steps on the base weights where their LoRA pair is missing, and
    say so in the log, instead of refusing them with the command that fetches it."""

    interpolation_without_weights: Literal["refuse", "warn"] = "warn"
    """What becomes of a request for new frames whose interpolator is not on this machine: refused
    with the command that fetches it, or carried out without them and with a warning in its log."""

    host: str = "127.0.0.1"
    """Address to listen on. Anything but loopback needs an API key first."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8900
    """HTTP port; 0 picks a free one."""
    tls_port: Annotated[int, Field(ge=0, le=65535)] | None = 8943
    """HTTPS port, used once `wan-local tls` has made a certificate; 0 picks a free one."""
    public_url: str | None = None
    """Base of the URLs the server returns; by default what the client itself connected to."""
    trust_forwarded: bool = False
    """Believe X-Forwarded-Proto and X-Forwarded-Host (only behind a proxy that sets them)."""
    cors_origins: tuple[str, ...] = ()
    """Web pages that may call the server; `*` lets any page spend the GPU."""

    device: Literal["auto", "cuda", "cpu"] = "auto"
    """`auto` is one slot per CUDA device, or one CPU slot where there is none."""
    quantization: Quantization = "none"
    """How the linear weights of the experts are kept: in the type they compute in, or rounded to
    `float8` or `int8` as they are loaded, which takes half of bfloat16's memory. LoRAs go with all
    three. Videos differ a little; metadata and logs say which it was."""
    engine: str = "wan_local.engine:open_engine"
    """`module:function` that opens the engine of a GPU process, given the weights directory, the
    device and the quantisation; tests of the queue put one here that needs no weights."""
    max_attempts: Annotated[int, Field(ge=1)] = 3
    """How often a job whose GPU process died is started in all."""
    silence: Annotated[float, Field(gt=0)] = 30.0
    """Seconds without a sign of life after which a GPU process is killed."""
    startup_patience: Annotated[float, Field(gt=0)] = 600.0
    """Seconds a GPU process may take to say hello."""
    step_patience: Annotated[float, Field(gt=0)] = 900.0
    """Seconds the engine may say nothing in the middle of a job, loading weights included, before
    it is taken for hung; ten times its longest silence in that job so far, where that is more."""
    adoption_grace: Annotated[float, Field(ge=0)] = 60.0
    """Seconds a GPU process goes on alone after its server died, waiting to be adopted."""
    drain_timeout: Annotated[float, Field(ge=0)] = 30.0
    """Seconds that SIGTERM waits for running jobs before it puts them back into the queue."""
    max_queued: Annotated[int, Field(ge=1)] = 100_000
    """Jobs that may wait; one more is answered 429."""

    preview_every: Annotated[int, Field(ge=0, le=1000)] = 0
    """Denoising steps from one rough picture of a running job to the next; 0 makes none. A request
    says otherwise in `X-Wan-Preview`."""

    safety: Literal["off", "honour", "force"] = "honour"
    """`honour` makes the checks that a request asks for, `force` makes them for every request and
    refuses those that cannot be checked, `off` makes none and says so in the job's log."""
    safety_without_weights: Literal["refuse", "warn"] = "warn"
    """What becomes of a request that asks for a check which cannot be made here: refused with the
    command that fetches the classifier, or carried out with a warning in its log."""
    safety_classifier: Path | None = None
    """Folder of an image classifier; by default `nsfw_image_detection` in `weights_dir`."""
    safety_text_classifier: Path | None = None
    """Folder of a text classifier for prompts; none by default."""
    safety_words: Path | None = None
    """File of words and phrases that a prompt must not hold, one a line; none by default."""
    safety_labels: Annotated[tuple[str, ...], Field(min_length=1)] = ("nsfw",)
    """What the classifiers call the unwanted."""
    safety_threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Probability above which something is refused."""
    safety_samples: Annotated[int, Field(ge=1, le=1000)] = 8
    """Frames of a video that are looked at, spread evenly over it."""

    expansion: Literal["none", "openai", "transformers"] = "none"
    """Who writes a prompt out for requests that ask for it: nobody, a server that speaks OpenAI's
    chat protocol, or a language model in the GPU process."""
    expansion_url: str | None = None
    """Base of that server, such as `http://127.0.0.1:11434/v1`."""
    expansion_model: str = ""
    """The model's name there."""
    expansion_key: Token | None = None
    """Sent to that server as a bearer token; none by default."""
    expansion_timeout: Annotated[float, Field(gt=0)] = 20.0
    """Seconds that it may take to answer before the prompt is used as written."""
    expansion_vision: bool = False
    """Whether it is shown the picture that a video begins with."""
    expansion_folder: Path | None = None
    """Folder of the language model for `transformers`; by default `qwen3-4b-instruct-2507` in
    `weights_dir`."""

    video_format: VideoFormat = "h264"
    """What videos are: `h264` is what clients of the API expect. For studios: `hevc10`,
    `prores422`, `prores4444`, `dnxhr`, `ffv1`, and zips of pictures: `png8`, `png16`, `exr`."""
    nvenc: bool = False
    """Let the GPU's own encoder make H.264 and HEVC, where a trial shows that it works."""
    metadata: MetadataPolicy = "full"
    """What a file says of how it was made: `full` is request, seed, hashes of the weights and
    version, so that `wan-local inspect --replay` can make it again; `minimal` is the version and
    the model; `none` is nothing."""
    sidecar_dir: Path | None = None
    """Folder that gets a JSON per file, named by the request's id: everything that `full` metadata
    holds, and the timings. None by default."""

    max_json_bytes: Annotated[int, Field(ge=1024)] = 32 * 2**20
    """Largest request body outside uploads; data URIs travel in it."""
    max_upload_bytes: Annotated[int, Field(ge=1024)] = 5 * 2**30
    """Largest uploaded file."""
    body_timeout: Annotated[float, Field(gt=0)] = 60.0
    """Seconds without a new byte after which a request body is given up."""
    fetch_public: bool = False
    """Fetch the files that requests name from the internet (http and https, ports 80 and 443). Off,
    nothing reaches out; uploads and data URIs need none of this."""
    fetch_allow: tuple[str, ...] = ()
    """Hosts, addresses and networks to fetch from as well, each with its ports unless they are 80
    and 443: `assets.studio.lan`, `10.20.0.0/16:443`."""
    fetch_roots: tuple[Path, ...] = ()
    """Folders from which a request may name a file by its path."""
    fetch_timeout: Annotated[float, Field(gt=0)] = 600.0
    """Seconds that fetching one file may take."""
    max_input_bytes: Annotated[int, Field(ge=1024)] = 512 * 2**20
    """Largest picture or video that a job may bring."""
    retention_days: Annotated[float, Field(gt=0)] = 30.0
    """Days after which finished jobs are forgotten."""

    @model_validator(mode="after")
    def _expansion_has_an_address(self) -> Self:
        if self.expansion == "openai" and not (self.expansion_url or "").startswith(
            ("http://", "https://")
        ):
            msg = 'expansion = "openai" needs expansion_url, which begins with http:// or https://'
            raise ValueError(msg)
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - no .env files
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - nor secret files
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then the environment, then the TOML file."""
        path = Path(os.environ.get("WAN_LOCAL_SETTINGS", "wan-local.toml"))
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, path)

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return self.host in LOOPBACK


def child_environment(**changes: str) -> dict[str, str]:
    """Return the environment for a child process: ours, offline, with *changes*.

    Nothing reaches out to the network unless the user asked for it; libraries that would look a
    model up on the Hugging Face Hub are told not to.
    """
    return {
        # torch's threads spin while they wait for one another. With another busy process on the
        # same cores that costs ten times the work: three generations at once on two cores took
        # 35 s each to decode, and 5 s so. Whoever knows better sets it.
        "OMP_WAIT_POLICY": "PASSIVE",
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        **changes,
    }
