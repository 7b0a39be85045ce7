"""What the operator's settings make of a plan."""

from __future__ import annotations

import pytest

from server.expansion import with_expansion
from server.policy import SWITCHED_OFF, classifier_folder, expander_folder, under_policy
from server.settings import Settings
from tests.wan_local.plans import a_plan
from wan_local.errors import BadCheckpoint, WeightsMissing
from wan_local.models.companions import EXPANDER, IMAGE_CLASSIFIER, TEXT_CLASSIFIER
from wan_local.plan import InterpolationSpec, PromptSpec, SafetySpec, SourceFile

BOTH = SafetySpec(check_input=True, check_output=True)
INPUT = SafetySpec(check_input=True)
OUTPUT = SafetySpec(check_output=True)
CAT = SourceFile(path="/cat.png", sha256="0" * 64)


def put(spec, folder):
    """Put files of the right names where the companion is expected: nobody reads them here."""
    folder.mkdir(parents=True)
    for name in (*spec.required, "model.safetensors"):
        (folder / name).write_text("{}")
    return folder


@pytest.fixture
def settings(tmp_path):
    """Return a function that makes settings, with the image classifier in its place."""
    put(IMAGE_CLASSIFIER, tmp_path / "nsfw_image_detection")
    return lambda **changes: Settings(weights_dir=tmp_path, **changes)


@pytest.fixture
def bare(tmp_path):
    """Return a function that makes settings of a machine without any companion."""
    return lambda **changes: Settings(weights_dir=tmp_path / "bare", **changes)


@pytest.fixture
def words(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("gun\n")
    return path


def test_the_flags_decide_by_default(settings, tmp_path):
    """Each its own check, and the plan names who makes it."""
    plan = under_policy(a_plan(safety=OUTPUT), settings())

    assert SafetySpec(check_output=True, classifier=str(tmp_path / "nsfw_image_detection")) == (
        plan.safety
    )
    assert () == plan.remarks


def test_a_plan_without_flags_costs_nothing(bare):
    """Nor does it need any classifier to be there."""
    plan = under_policy(a_plan(), bare(safety_without_weights="refuse"))

    assert (False, False, None, ()) == (
        plan.safety.check_input,
        plan.safety.check_output,
        plan.safety.classifier,
        plan.remarks,
    )


def test_force_checks_what_nobody_asked_for(settings):
    """A studio's rule is not the client's to choose."""
    plan = under_policy(a_plan(first_frame=CAT), settings(safety="force"))

    assert plan.safety.check_input
    assert plan.safety.check_output
    assert () == plan.remarks


def test_force_without_a_classifier_refuses_everything(bare):
    """Whatever the setting for flags says: a rule that is not kept is no rule."""
    with pytest.raises(WeightsMissing, match="hf download Falconsai/nsfw_image_detection"):
        under_policy(a_plan(), bare(safety="force", safety_without_weights="warn"))


def test_off_makes_no_check_and_says_so(settings):
    """A client that asked for one must be able to find out."""
    plan = under_policy(a_plan(safety=BOTH, remarks=("first",)), settings(safety="off"))

    assert SafetySpec() == plan.safety
    assert ("first", SWITCHED_OFF) == plan.remarks
    assert a_plan() == under_policy(a_plan(), settings(safety="off"))


def test_a_missing_classifier_is_refused_with_the_command_where_the_operator_says_so(bare):
    """The strict way: no check, no video."""
    with pytest.raises(WeightsMissing, match="hf download Falconsai/nsfw_image_detection"):
        under_policy(a_plan(safety=OUTPUT), bare(safety_without_weights="refuse"))


def test_a_missing_classifier_is_a_warning_otherwise(bare):
    """Clients send the flag by habit; the log says that nothing was checked, and the remedy."""
    plan = under_policy(a_plan(safety=OUTPUT), bare())

    assert not plan.safety.check_output
    assert plan.remarks[0].startswith("a safety check was asked for and not made: ")
    assert "hf download Falconsai/nsfw_image_detection" in plan.remarks[0]


def test_half_a_classifier_is_none(settings, tmp_path):
    """And not a check that crashes every job."""
    (tmp_path / "nsfw_image_detection" / "model.safetensors").unlink()

    assert "is incomplete" in under_policy(a_plan(safety=OUTPUT), settings()).remarks[0]
    with pytest.raises(BadCheckpoint, match="is incomplete"):
        under_policy(a_plan(safety=OUTPUT), settings(safety_without_weights="refuse"))


def test_a_prompt_that_nothing_can_check_is_said_or_refused(settings):
    """The image classifier is here, but there is no image to look at."""
    plan = under_policy(a_plan(safety=INPUT), settings())

    assert not plan.safety.check_input
    assert "the prompt was not checked" in plan.remarks[0]
    with pytest.raises(WeightsMissing, match="nothing to check a prompt with"):
        under_policy(a_plan(safety=INPUT), settings(safety_without_weights="refuse"))


def test_pictures_are_checked_even_where_prompts_are_not(settings):
    """And what was not is said."""
    strict = settings(safety_without_weights="refuse")
    plan = under_policy(a_plan(safety=INPUT, first_frame=CAT), strict)

    assert plan.safety.check_input
    assert plan.safety.classifier is not None
    assert "the prompt was not checked" in plan.remarks[0]


def test_a_list_of_words_checks_prompts(settings, words):
    """Without an image classifier being asked for, or needed."""
    plan = under_policy(a_plan(safety=INPUT), settings(safety_words=words))

    assert (True, str(words), None, ()) == (
        plan.safety.check_input,
        plan.safety.words,
        plan.safety.classifier,
        plan.remarks,
    )


def test_a_text_classifier_checks_prompts(settings, tmp_path):
    """From whatever folder the operator names."""
    folder = put(TEXT_CLASSIFIER, tmp_path / "toxic")
    plan = under_policy(a_plan(safety=INPUT), settings(safety_text_classifier=folder))

    assert (True, str(folder)) == (plan.safety.check_input, plan.safety.text_classifier)


@pytest.mark.parametrize("name", ["safety_words", "safety_text_classifier"])
def test_a_text_check_that_was_set_and_is_not_there_counts_as_missing(settings, tmp_path, name):
    """A path with a typing error in it."""
    wrong = {name: tmp_path / "gone"}

    assert "gone" in under_policy(a_plan(safety=INPUT), settings(**wrong)).remarks[0]
    with pytest.raises(WeightsMissing, match=name):
        under_policy(a_plan(safety=INPUT), settings(**wrong, safety_without_weights="refuse"))


def test_thresholds_and_labels_travel_with_the_plan(settings):
    """The engine reads no settings."""
    plan = under_policy(
        a_plan(safety=OUTPUT),
        settings(safety_threshold=0.8, safety_samples=16, safety_labels=("NSFW", "Gore")),
    )

    assert (0.8, 16, ("nsfw", "gore")) == (
        plan.safety.threshold,
        plan.safety.samples,
        plan.safety.labels,
    )


def test_the_policy_is_a_function_of_plan_and_settings(settings):
    """It is applied twice, to refuse early and to run."""
    plan = a_plan(safety=BOTH, first_frame=CAT)

    assert under_policy(plan, settings()) == under_policy(plan, settings())


def test_expansion_without_a_backend_is_said(bare):
    """Accepted, as on the hosted service, and never silently ignored."""
    plan = under_policy(a_plan(prompt=PromptSpec(text="a", expand=True)), bare())

    assert (False, None) == (plan.prompt.expand, plan.prompt.expander)
    assert "is used as written: this server has no language model for it" in plan.remarks[0]


def test_a_local_language_model_travels_with_the_plan(bare, tmp_path):
    """As the folder it is in."""
    folder = put(EXPANDER, tmp_path / "bare" / "qwen3-4b-instruct-2507")
    settings = bare(expansion="transformers")
    plan = under_policy(a_plan(prompt=PromptSpec(text="a", expand=True)), settings)

    assert (True, str(folder), ()) == (plan.prompt.expand, plan.prompt.expander, plan.remarks)
    assert None is under_policy(a_plan(), settings).prompt.expander


def test_a_local_language_model_that_is_not_here_is_said_with_the_command(bare):
    """The video is made all the same."""
    plan = under_policy(
        a_plan(prompt=PromptSpec(text="a", expand=True)), bare(expansion="transformers")
    )

    assert not plan.prompt.expand
    assert "hf download Qwen/Qwen3-4B-Instruct-2507" in plan.remarks[0]


def test_what_a_server_expands_is_no_business_of_the_engine(bare):
    """It was tried before the plan, and its log line written then."""
    settings = bare(expansion="openai", expansion_url="http://127.0.0.1:1/v1")
    asked = a_plan(prompt=PromptSpec(text="a", expand=True))
    tried = [under_policy(with_expansion(asked, text), settings) for text in ("a cat", None)]

    assert [("a cat", False, ()), ("a", False, ())] == [
        (plan.prompt.text, plan.prompt.expand, plan.remarks) for plan in tried
    ]


def test_what_was_let_in_before_there_was_a_language_model_says_so(bare):
    """Nobody was asked when it was submitted, and a slot is too late to ask."""
    settings = bare(expansion="openai", expansion_url="http://127.0.0.1:1/v1")
    plan = under_policy(a_plan(prompt=PromptSpec(text="a", expand=True)), settings)

    assert not plan.prompt.expand
    assert "is used as written: it was submitted before" in plan.remarks[0]


def test_folders_are_in_the_weights_directory_unless_set(tmp_path):
    """One place to back up."""
    there = Settings(weights_dir=tmp_path)
    elsewhere = Settings(safety_classifier=tmp_path / "a", expansion_folder=tmp_path / "b")

    assert tmp_path / "nsfw_image_detection" == classifier_folder(there)
    assert tmp_path / "qwen3-4b-instruct-2507" == expander_folder(there)
    assert (tmp_path / "a", tmp_path / "b") == (
        classifier_folder(elsewhere),
        expander_folder(elsewhere),
    )


FILM = InterpolationSpec(model="film", frames_between=1)


def test_new_frames_without_weights_are_left_out_and_said(bare):
    """Fal's default asks for FILM: on a machine without it, every plain request does."""
    plan = under_policy(a_plan(interpolation=FILM, num_frames=81), bare())

    assert plan.interpolation is None
    (remark,) = plan.remarks
    assert "interpolation with film was asked for and left out" in remark
    assert "81 frames at 16 a second" in remark
    assert "hf download Comfy-Org/frame_interpolation" in remark


def test_new_frames_without_weights_can_be_refused(bare):
    """For an operator who would rather hear of it than sell half of the frames."""
    with pytest.raises(WeightsMissing, match="hf download"):
        under_policy(a_plan(interpolation=FILM), bare(interpolation_without_weights="refuse"))


@pytest.mark.parametrize("weights", ["refuse", "warn"])
def test_new_frames_with_weights_are_made(bare, tmp_path, weights):
    """Looked for by name only; the engine reads the file."""
    folder = tmp_path / "bare" / "interpolation" / "film"
    folder.mkdir(parents=True)
    (folder / "film_net_fp16.safetensors").write_bytes(b"x")
    plan = a_plan(interpolation=FILM)

    assert plan == under_policy(plan, bare(interpolation_without_weights=weights))


def test_no_new_frames_need_no_weights(bare):
    """num_interpolated_frames=0 is how to ask for none."""
    plan = a_plan(interpolation=InterpolationSpec(model="rife", frames_between=0))

    assert plan == under_policy(plan, bare(interpolation_without_weights="refuse"))
