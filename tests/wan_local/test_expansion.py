"""What a language model is told, and what is taken from its answer."""

from __future__ import annotations

import pytest

from tests.wan_local.plans import a_plan
from wan_local.expansion import (
    INSTRUCTIONS,
    MAX_CHARACTERS,
    BadAnswer,
    clean_answer,
    fallback,
    kind_of,
)
from wan_local.plan import PictureSpec, SourceFile

CAT = SourceFile(path="/cat.png", sha256="0" * 64)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [({}, "video"), ({"first_frame": CAT}, "motion"),
     ({"picture": PictureSpec(), "num_frames": 1}, "picture")],
)  # fmt: skip
def test_each_kind_of_plan_has_its_instruction(changes, kind):
    """What moves is of no use in a picture, what stands still of none beside one."""
    assert kind == kind_of(a_plan(**changes))


@pytest.mark.parametrize("kind", INSTRUCTIONS)
def test_every_instruction_forbids_to_change_what_was_asked_for(kind):
    """What must not be made is refused aloud, never quietly turned into something else."""
    told = INSTRUCTIONS[kind]

    assert "Do not remove, replace or tone down anything" in told
    assert "Write in the language of the description" in told


@pytest.mark.parametrize(
    ("answer", "prompt"),
    [
        ("a red cat runs", "a red cat runs"),
        ("  a red cat\n\n runs ", "a red cat runs"),
        ('"a red cat"', "a red cat"),
        ("“a red cat”", "a red cat"),
        ("「红猫」", "红猫"),
        ('"A sign says "hello""', '"A sign says "hello""'),
        ('a sign says "hello"', 'a sign says "hello"'),
        ("```text\na red cat\n```", "a red cat"),
        ("```\na red cat\n```", "a red cat"),
        ("<think>the user wants\na cat</think>\n\na red cat", "a red cat"),
        ("wants a cat</think>a red cat", "a red cat"),
        ("**Expanded prompt:** a red cat", "a red cat"),
        ("Prompt: a red cat", "a red cat"),
        ("Description:\n\n\"a red cat\"", "a red cat"),
        ("a prompt: waiting cat", "a prompt: waiting cat"),
        ("a\0cat", "a cat"),
    ],
)  # fmt: skip
def test_what_models_add_is_taken_off(answer, prompt):
    """They do, whatever they are told."""
    assert prompt == clean_answer(answer)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "empty"),
        (" \n ", "empty"),
        ('""', "empty"),
        ("<think>nothing</think>", "empty"),
        ("```\n\n```", "empty"),
        ("<think>the user wants a cat, so I", "still thinking"),
        ("cat " * MAX_CHARACTERS, "characters"),
        ("I'm sorry, but I can't help with that.", "refused"),
        ("I cannot write that.", "refused"),
        ("I\u2019m unable to do this.", "refused"),
        ("很抱歉，我不能这样做。", "refused"),  # noqa: RUF001 - as a model writes it
    ],
)
def test_what_is_no_prompt_is_refused_with_the_reason(answer, reason):
    """The client's own words are used then."""
    with pytest.raises(BadAnswer, match=reason):
        clean_answer(answer)


def test_a_cat_that_is_sorry_is_no_refusal():
    """Only the beginning tells."""
    assert "A cat says I'm sorry" == clean_answer("A cat says I'm sorry")


def test_the_log_says_what_was_used():
    """The same words wherever it failed."""
    assert "the prompt was not expanded and is used as written: no time" == fallback("no time")
