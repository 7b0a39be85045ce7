"""The operator's word on a plan: which checks are made, who expands prompts, what may be missing.

A planner puts down what the client asked for; this decides what is done about it, from the settings
and from what is on this machine. What is not done is said: refused, or a remark for the job's log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from server.output_style import in_style
from server.settings import Settings
from wan_local.errors import BadCheckpoint, WanLocalError, WeightsMissing
from wan_local.expansion import fallback
from wan_local.models.companions import (
    EXPANDER,
    IMAGE_CLASSIFIER,
    TEXT_CLASSIFIER,
    CompanionSpec,
    find_companion,
)
from wan_local.models.interpolators import find_interpolator
from wan_local.plan import SafetySpec, VideoPlan

Policy = Callable[[VideoPlan], VideoPlan]

SWITCHED_OFF = "safety checks were asked for and are switched off on this server (setting safety)"
NO_TEXT_CHECK = (
    "this server has nothing to check a prompt with (settings safety_words, safety_text_classifier)"
)


def under_policy(plan: VideoPlan, settings: Settings) -> VideoPlan:
    """Return *plan* with all decided that the settings have a say in.

    Raises:
        WeightsMissing: If a check, or new frames, have to be made and what makes them is not here;
            the message says how to get it.
        BadCheckpoint: If what makes them is here by half.
    """
    if settings.turbo_without_lora:
        plan = plan.allowing_missing_loras()
    plan = _with_expander(_with_checks(plan, settings), settings)
    return in_style(_with_interpolator(plan, settings), settings)


def classifier_folder(settings: Settings) -> Path:
    """Return where the image classifier is expected."""
    return _place(settings.safety_classifier, settings, IMAGE_CLASSIFIER)


def expander_folder(settings: Settings) -> Path:
    """Return where the language model of this machine is expected."""
    return _place(settings.expansion_folder, settings, EXPANDER)


@dataclass(slots=True)
class _Search:
    """Looks for what makes the checks, and remembers what it did not find."""

    strict: bool
    """Whether a check that cannot be made refuses the request."""
    remarks: list[str] = field(default_factory=list)

    def companion(self, spec: CompanionSpec, folder: Path) -> str | None:
        """Return *folder*, if the companion is there."""
        try:
            return str(find_companion(spec, folder).absolute())
        except (WeightsMissing, BadCheckpoint) as error:
            self._miss(error)
            return None

    def file(self, path: Path) -> str | None:
        """Return *path*, if it is a file."""
        if path.is_file():
            return str(path.absolute())
        msg = f"there is no list of refused words at {path} (setting safety_words)"
        self._miss(WeightsMissing(msg))
        return None

    def _miss(self, error: WanLocalError) -> None:
        if self.strict:
            raise error
        self.remarks.append(f"a safety check was asked for and not made: {error}")


def _with_checks(plan: VideoPlan, settings: Settings) -> VideoPlan:
    asked, forced = plan.safety, settings.safety == "force"
    if settings.safety == "off":
        if not (asked.check_input or asked.check_output):
            return plan
        return replace(plan, safety=SafetySpec(), remarks=(*plan.remarks, SWITCHED_OFF))
    check_input, check_output = asked.check_input or forced, asked.check_output or forced
    refuse = settings.safety_without_weights == "refuse"
    search = _Search(strict=forced or refuse)
    classifier = words = reader = None
    shown = check_input and bool(plan.pictures)
    if check_output or shown:
        classifier = search.companion(IMAGE_CLASSIFIER, classifier_folder(settings))
    if check_input and settings.safety_words is not None:
        words = search.file(settings.safety_words)
    if check_input and settings.safety_text_classifier is not None:
        reader = search.companion(TEXT_CLASSIFIER, settings.safety_text_classifier)
    text_unchecked = settings.safety_words is None and settings.safety_text_classifier is None
    if asked.check_input and text_unchecked:
        if refuse and not shown:
            msg = f"the safety checker was asked for, and {NO_TEXT_CHECK}"
            raise WeightsMissing(msg)
        search.remarks.append(f"the prompt was not checked: {NO_TEXT_CHECK}")
    safety = SafetySpec(
        check_input=bool(words or reader or (shown and classifier)),
        check_output=check_output and classifier is not None,
        classifier=classifier,
        text_classifier=reader,
        words=words,
        labels=tuple(label.lower() for label in settings.safety_labels),
        threshold=settings.safety_threshold,
        samples=settings.safety_samples,
    )
    return replace(plan, safety=safety, remarks=(*plan.remarks, *search.remarks))


def _with_expander(plan: VideoPlan, settings: Settings) -> VideoPlan:
    if not plan.prompt.expand:
        return plan
    if settings.expansion == "transformers":
        try:
            folder = find_companion(EXPANDER, expander_folder(settings)).absolute()
        except (WeightsMissing, BadCheckpoint) as error:
            reason = str(error)
        else:
            return replace(plan, prompt=replace(plan.prompt, expander=str(folder)))
    elif settings.expansion == "none":
        reason = "this server has no language model for it (setting expansion)"
    else:
        # A plan whose expansion was tried does not come here, and its log says what came of it.
        reason = "it was submitted before this server had a language model (setting expansion)"
    prompt = replace(plan.prompt, expand=False)
    return replace(plan, prompt=prompt, remarks=(*plan.remarks, fallback(reason)))


def _with_interpolator(plan: VideoPlan, settings: Settings) -> VideoPlan:
    asked = plan.interpolation
    if asked is None or asked.frames_between == 0:
        return plan
    try:
        find_interpolator(settings.weights_dir, asked.model)
    except (WeightsMissing, BadCheckpoint) as error:
        if settings.interpolation_without_weights == "refuse":
            raise
        # fal's default asks for FILM: refused, every plain request would be.
        remark = (
            f"interpolation with {asked.model} was asked for and left out, so there are "
            f"{plan.num_frames} frames at {plan.fps:g} a second: {error}"
        )
        return replace(plan, interpolation=None, remarks=(*plan.remarks, remark))
    return plan


def _place(setting: Path | None, settings: Settings, spec: CompanionSpec) -> Path:
    return settings.weights_dir / spec.id if setting is None else setting
