"""What happens to a plan before the video model is asked, and the eye on what comes out.

Prompt and pictures are checked first, then a language model may write the prompt out, then its
text is checked as well. All of it only where the plan says so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from wan_local.errors import ContentRefused, InvalidPlan, WanLocalError
from wan_local.events import Event, Stage, StageStarted, TokensWritten, Warned
from wan_local.expansion import BadAnswer, fallback, kind_of
from wan_local.media import probe_media
from wan_local.media.reading import read_picture, read_video
from wan_local.models.classifiers import load_picture_classifier, load_text_classifier
from wan_local.models.language import load_language_model
from wan_local.models.residency import Residency
from wan_local.plan import SafetySpec, SourceFile, VideoPlan
from wan_local.stages.expand import ExpansionCache, expand_prompt
from wan_local.stages.safety import (
    OutputCheck,
    check_pictures,
    check_text,
    check_words,
    read_words,
    sampled_frames,
)
from wan_local.tensors import Frames

log = logging.getLogger(__name__)

# Estimates, as in models/footprint.py: eight pictures of 224 pixels a side through a ViT-B, and a
# thousand tokens of memory of a language model of 4 B.
CLASSIFIER_BYTES = 5 * 10**8
LANGUAGE_BYTES = 10**9

_LOADERS: dict[str, Callable[[Path, torch.dtype], nn.Module]] = {
    "picture-classifier": lambda folder, _: load_picture_classifier(folder),
    "text-classifier": lambda folder, _: load_text_classifier(folder),
    "language-model": load_language_model,
}


def is_companion(name: str) -> bool:
    """Whether component *name* is one of a companion and not of a checkpoint."""
    return name.partition(":")[0] in _LOADERS


def load_companion(name: str, dtype: torch.dtype) -> nn.Module:
    """Load the companion of component *name*, `language-model:/its/folder`, into host memory.

    Raises:
        WeightsMissing: If it is not there.
        BadCheckpoint: If it is not whole.
    """
    kind, _, folder = name.partition(":")
    return _LOADERS[kind](Path(folder), dtype)


def vetted(
    plan: VideoPlan,
    models: Residency,
    expansions: ExpansionCache,
    start: Callable[[Stage], StageStarted],
) -> Generator[Event, None, VideoPlan]:
    """Check the input of *plan* and expand its prompt; return the plan to carry out.

    Raises:
        ContentRefused: If something that the client sent is flagged.
        InvalidPlan: If a check is asked for and the plan names nobody to make it.
    """
    _refuse_unmanned_checks(plan)
    for remark in plan.remarks:
        yield Warned(remark)
    if plan.safety.check_input:
        yield start(Stage.CHECK)
        vet_text(plan.prompt.written or plan.prompt.text, plan.safety, models)
        vet_pictures(plan, models)
    if plan.prompt.expand:
        yield start(Stage.EXPAND)
        plan = yield from _expanded(plan, models, expansions)
    if plan.safety.check_input and plan.prompt.written is not None:
        plan = yield from _without_flagged_expansion(plan, models)
    return plan


@contextmanager
def output_check(plan: VideoPlan, models: Residency) -> Iterator[OutputCheck | None]:
    """Keep the classifier at hand for the frames of *plan*; None if nobody is to look at them."""
    if not plan.safety.check_output or plan.safety.classifier is None:
        yield None
        return
    with models.hold(
        f"picture-classifier:{plan.safety.classifier}", room=CLASSIFIER_BYTES
    ) as classifier:
        yield OutputCheck(classifier, plan.safety, num_frames=plan.written_frames)


def vet_text(text: str, safety: SafetySpec, models: Residency) -> None:
    """Check *text* with all that *safety* names.

    Raises:
        ContentRefused: If it is flagged.
    """
    if safety.words is not None:
        check_words(read_words(Path(safety.words)), text)
    if safety.text_classifier is not None:
        name = f"text-classifier:{safety.text_classifier}"
        with models.hold(name, room=CLASSIFIER_BYTES) as reader:
            check_text(reader, text, safety)


def vet_pictures(plan: VideoPlan, models: Residency) -> None:
    """Check the pictures and the video that came with *plan*.

    Raises:
        ContentRefused: If one of them is flagged.
        BadMedia: If one cannot be read.
    """
    folder = plan.safety.classifier
    if folder is None or not plan.pictures:
        return
    with models.hold(f"picture-classifier:{folder}", room=CLASSIFIER_BYTES) as classifier:
        for part, file in plan.pictures:
            check_pictures(classifier, input_frames(plan, file), plan.safety, part=part)


def input_frames(plan: VideoPlan, file: SourceFile) -> Frames:
    """Return what is to be seen of *file*: the picture, or samples of the frames that are used.

    Raises:
        BadMedia: If it cannot be read.
    """
    path = Path(file.path)
    if plan.start is None or file != plan.start.file or probe_media(path).kind == "image":
        return torch.from_numpy(read_picture(path))[None]
    chosen = sampled_frames(plan.num_frames, plan.safety.samples)
    kept: list[Tensor] = []
    last: Tensor | None = None
    for index, pixels in enumerate(
        read_video(path, fps=plan.start.fps, num_frames=plan.num_frames)
    ):
        last = torch.from_numpy(pixels)
        if index in chosen:
            kept.append(last)
    # A video may be shorter than the plan: then its last frame is an end as well.
    return torch.stack(kept if last is None else [*kept, last])


def _refuse_unmanned_checks(plan: VideoPlan) -> None:
    """A check that nobody makes must not pass for one that found nothing."""
    safety = plan.safety
    if safety.check_output and safety.classifier is None:
        msg = "the output is to be checked, and the plan names no image classifier"
        raise InvalidPlan(msg)
    if safety.check_input and not (safety.words or safety.text_classifier or safety.classifier):
        msg = "the input is to be checked, and the plan names nothing to check it with"
        raise InvalidPlan(msg)


def _expanded(
    plan: VideoPlan, models: Residency, expansions: ExpansionCache
) -> Generator[TokensWritten | Warned, None, VideoPlan]:
    """Return *plan* with its prompt written out, or as it is and the reason said."""
    prompt, kind, folder = plan.prompt, kind_of(plan), plan.prompt.expander
    if folder is None:
        yield Warned(fallback("the plan names no language model"))
        return plan
    expanded = expansions.get(folder, kind, prompt.text)
    if expanded is None:
        try:
            with models.hold(f"language-model:{folder}", room=LANGUAGE_BYTES) as language:
                expanded = yield from expand_prompt(language, prompt.text, kind)
        except (WanLocalError, BadAnswer, torch.OutOfMemoryError) as error:
            log.warning("expansion failed: %s", error)
            reason = "out of memory" if isinstance(error, torch.OutOfMemoryError) else str(error)
            yield Warned(fallback(reason))
            return plan
        expansions.put(folder, kind, prompt.text, expanded)
    return replace(plan, prompt=replace(prompt, text=expanded, written=prompt.text))


def _without_flagged_expansion(
    plan: VideoPlan, models: Residency
) -> Generator[Warned, None, VideoPlan]:
    """Return *plan*, with the client's own words if its expansion is flagged.

    They have passed the check; what a language model made of them is not the client's doing.
    """
    prompt = plan.prompt
    try:
        vet_text(prompt.text, plan.safety, models)
    except ContentRefused as error:
        log.info("the expansion was flagged: %s", error)
        yield Warned(fallback("its expansion was flagged by the content checker"))
        written = prompt.text if prompt.written is None else prompt.written
        return replace(plan, prompt=replace(prompt, text=written, written=None))
    return plan
