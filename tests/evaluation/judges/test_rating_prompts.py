"""Rating prompts: placeholders known and unknown, and words that look like them."""

from __future__ import annotations

import pytest

from visreward.core.errors import InputError, UsageError
from visreward.evaluation.judges.rating_prompts import (
    Kind,
    Picture,
    builtin_text,
    criteria,
    parse_rating_prompt,
)

ONE, TWO, THREE = (Picture(source=name) for name in ("1.png", "2.png", "3.png"))


def test_prompt_that_looks_like_placeholders_stays_text() -> None:
    parsed = parse_rating_prompt("Say <prompt>: <image>", kind="scores", name="t")
    parts = parsed.fill({"prompt": "<image> <<prompt> <criteria>"}, {"image": [ONE]})
    assert parts == ("Say <image> <<prompt> <criteria>: ", ONE)


def test_texts_are_joined_and_several_sources_stand_in_order() -> None:
    parsed = parse_rating_prompt("<prompt> <source_image><image>!", kind="scores", name="t")
    parts = parsed.fill({"prompt": "p"}, {"image": [THREE], "source_image": [ONE, TWO]})
    assert parts == ("p ", ONE, TWO, THREE, "!")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("<instruct_prompt><source_prompt><target_prompt><output_image>", "scores"),
        ("<instruct_prompt><source_image><left_output_image><right_output_image>", "pairs"),
        ("<prompt><left_image><right_image>", "pairs"),
        ("<prompt><images>", "ranking"),
    ],
)
def test_placeholders_of_genai_bench_and_ours_are_known(text: str, kind: Kind) -> None:
    parse_rating_prompt(text, kind=kind, name="t")


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("<image><promt>", "scores", "<promt>.*Did you mean <prompt>"),
        ("<image><left_image>", "scores", "unknown placeholder <left_image>"),
        ("<left_image><right_image><answer>", "pairs", "write <<answer>"),
        ("<left_image><right_image><comparison_type>", "pairs", "unknown placeholder"),
        ("no image", "scores", "<image> 0 times"),
        ("<image><output_image>", "scores", "<image> 2 times"),
        ("<left_image>", "pairs", "<right_image> 0 times"),
        ("<image>", "ranking", "unknown placeholder <image>"),
    ],
)
def test_unknown_placeholder_or_missing_candidate_is_refused(
    text: str, kind: Kind, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        parse_rating_prompt(text, kind=kind, name="t")


def test_doubled_bracket_is_text() -> None:
    parsed = parse_rating_prompt("<<answer> a < b <image> </answer>", kind="scores", name="t")
    assert parsed.fill({}, {"image": [ONE]}) == ("<answer> a < b ", ONE, " </answer>")


def test_source_that_is_not_there_is_an_error_of_the_sample() -> None:
    parsed = parse_rating_prompt("<source_image><image>", kind="scores", name="t")
    with pytest.raises(InputError, match="source_image"):
        parsed.fill({}, {"image": [ONE], "source_image": []})


@pytest.mark.parametrize("kind", ["scores", "pairs", "ranking"])
@pytest.mark.parametrize("what", ["generated", "edited"])
def test_our_texts_ask_for_prompt_criteria_and_form_and_hold_no_label(
    kind: Kind, what: str
) -> None:
    text = builtin_text(f"{kind}_{what}")
    parsed = parse_rating_prompt(text, kind=kind, name="ours")
    assert {"prompt", "criteria", "answer_form"} <= set(parsed.placeholders)
    assert ("source_image" in parsed.placeholders) == (what == "edited")
    assert "[[" not in text


def test_criteria_of_several_dimensions_are_named_and_differ_for_edits() -> None:
    names = ("instruction_following", "visual_quality", "overall")
    generated, edited = (criteria(names, is_edit=is_edit) for is_edit in (False, True))
    assert [line.split(":")[0] for line in edited.splitlines()] == list(names)
    assert generated != edited


def test_dimension_without_a_text_of_ours_asks_for_a_template() -> None:
    with pytest.raises(UsageError, match="template of your own"):
        criteria(("sparkle",), is_edit=False)
