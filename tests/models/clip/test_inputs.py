"""Pixels and token ids: the processor's own numbers, and inputs that break it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import PIL
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from visreward.core.errors import ShapeError, UsageError
from visreward.core.resizing import are_rows_first
from visreward.models.clip.inputs import MAX_LENGTH, ImageFit, PixelInputs, TextInputs

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import CLIPTokenizer

    from visreward.models.clip.backbone import CLIPBackbone

SIDE = 32
OLD_PILLOW = int(PIL.__version__.split(".")[0]) < 13  # resizes columns before rows, always


def picture(width: int, height: int) -> Image.Image:
    noise = np.random.default_rng(width * 10_007 + height).integers(0, 256, (height, width, 3))
    return Image.fromarray(noise.astype(np.uint8))


def pixel_inputs(side: int = SIDE, **settings: Any) -> PixelInputs:
    return PixelInputs(
        CLIPImageProcessorPil(
            size={"shortest_edge": side}, crop_size={"height": side, "width": side}, **settings
        )
    )


def processed(inputs: PixelInputs, image: Image.Image, **settings: Any) -> np.ndarray:
    """The processor's own way, with the layout said so that it need not guess."""
    result = inputs.processor(image, input_data_format="channels_last", **settings)
    array: np.ndarray = result["pixel_values"][0]
    return array


def processed_rows_first(inputs: PixelInputs, image: Image.Image, **settings: Any) -> np.ndarray:
    """The processor's way under a Pillow that resizes columns first, of the picture on its side."""
    on_its_side = processed(inputs, image.transpose(Image.Transpose.TRANSPOSE), **settings)
    return on_its_side.swapaxes(-1, -2)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90))
@example(33, 67)
@example(67, 33)
@example(40, 90)
def test_pixels_any_size_equal_to_processor(width: int, height: int) -> None:
    if max(width, height) > MAX_LENGTH * min(width, height):
        return
    inputs, image = pixel_inputs(), picture(width, height)
    after = (SIDE * width // min(width, height), SIDE * height // min(width, height))
    rows_first = are_rows_first(image.size, after)
    way = processed_rows_first if rows_first and OLD_PILLOW else processed
    known = way(inputs, image, do_rescale=False, do_normalize=False)
    np.testing.assert_array_equal(inputs.pixels([image])[0], known)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from(["crop", "pad"]))
def test_square_of_a_square_is_itself(width: int, height: int, fit: ImageFit) -> None:
    inputs = PixelInputs(pixel_inputs().processor, fit=fit)
    assert inputs.keeps_squares
    square = inputs.square(picture(width, height))
    np.testing.assert_array_equal(np.asarray(inputs.square(square)), np.asarray(square))


def test_keeps_squares_resize_larger_than_crop_is_false() -> None:
    inputs = pixel_inputs()
    inputs.processor.size["shortest_edge"] = SIDE + 8
    assert not inputs.keeps_squares
    square = inputs.square(picture(60, 50))
    assert not np.array_equal(np.asarray(inputs.square(square)), np.asarray(square))


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (5, 3), (40, 3), (3, 40), (1, 9), (9, 1)])
def test_normalise_picture_of_few_pixels_equal_to_processor(size: tuple[int, int]) -> None:
    inputs, image = pixel_inputs(), picture(*size)
    values = inputs.normalise(inputs.pixels([image]))[0]
    np.testing.assert_allclose(values, processed(inputs, image), rtol=0, atol=1e-6)


@pytest.mark.parametrize("crop", [20, 47])
def test_pixels_crop_of_other_size_equal_to_processor(crop: int) -> None:
    inputs = PixelInputs(
        CLIPImageProcessorPil(
            size={"shortest_edge": SIDE}, crop_size={"height": crop, "width": crop}
        )
    )
    for size in ((50, 70), (70, 51), (33, 33)):
        known = processed(inputs, picture(*size), do_rescale=False, do_normalize=False)
        np.testing.assert_array_equal(inputs.pixels([picture(*size)])[0], known)


@pytest.mark.parametrize("size", [(3, 200), (200, 3), (2, 301), (5, 700), (900, 20), (1, 70)])
def test_pixels_long_strip_within_one_level_of_processor(size: tuple[int, int]) -> None:
    inputs, image = pixel_inputs(), picture(*size)
    known = processed(inputs, image, do_rescale=False, do_normalize=False)
    difference = np.abs(inputs.pixels([image])[0].numpy().astype(int) - known)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


@pytest.mark.parametrize("size", [(1, 30_000), (30_000, 1)])
def test_pixels_extreme_strip_makes_no_large_picture(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    plain = Image.Image.resize

    def watched(image: Image.Image, size: tuple[int, int], *rest: Any, **more: Any) -> Image.Image:
        made.append(size[0] * size[1])
        return plain(image, size, *rest, **more)

    monkeypatch.setattr(Image.Image, "resize", watched)
    assert pixel_inputs().pixels([picture(*size)]).shape == (1, 3, SIDE, SIDE)
    assert max(made) <= (MAX_LENGTH + 1) * SIDE * SIDE


def test_pixels_of_several_pictures_equal_one_at_a_time() -> None:
    inputs, images = pixel_inputs(), [picture(40, 50), picture(64, 33), picture(32, 32)]
    together = inputs.pixels(images)
    assert together.is_contiguous()
    torch.testing.assert_close(
        together, torch.cat([inputs.pixels([image]) for image in images]), rtol=0, atol=0
    )


def test_pixels_pad_keeps_whole_picture_between_black_bars() -> None:
    processor = pixel_inputs().processor
    white = Image.new("RGB", (64, 16), "white")
    square = PixelInputs(processor, fit="pad").pixels([white])[0]
    assert square[:, 12:20].eq(255).all()
    assert square[:, :12].eq(0).all()
    assert square[:, 20:].eq(0).all()


def test_normalise_float_pixels_is_differentiable() -> None:
    inputs = pixel_inputs()
    pixels = torch.full((1, 3, SIDE, SIDE), 100.0, requires_grad=True)
    inputs.normalise(pixels).sum().backward()
    assert pixels.grad is not None
    known = 1 / (255 * torch.tensor(inputs.processor.image_std))
    torch.testing.assert_close(pixels.grad[0, :, 0, 0], known)


@pytest.mark.parametrize("step", ["do_resize", "do_center_crop", "do_rescale", "do_normalize"])
def test_pixel_inputs_missing_step_is_refused(step: str) -> None:
    with pytest.raises(UsageError, match=f"{step} = False"):
        pixel_inputs(**{step: False})


def test_pixel_inputs_distorting_size_is_refused() -> None:
    with pytest.raises(UsageError, match="shortest_edge"):
        PixelInputs(CLIPImageProcessorPil(size={"height": SIDE, "width": SIDE}))


def test_same_as_compares_settings_and_fit() -> None:
    one = pixel_inputs()
    assert one.same_as(pixel_inputs())
    assert not one.same_as(pixel_inputs(side=48))
    assert not one.same_as(PixelInputs(one.processor, fit="pad"))


@pytest.mark.parametrize("cleaning", ["open_clip", "none"])
@pytest.mark.parametrize(
    "prompt", ["<|endoftext|> a red cube", "a <|startoftext|>red<|endoftext|>"]
)
def test_token_ids_special_tokens_in_prompt_are_plain_text(
    tokenizer: CLIPTokenizer, cleaning: Any, prompt: str
) -> None:
    ids, counts = TextInputs(tokenizer, context=64, cleaning=cleaning).token_ids([prompt])
    row = ids[0].tolist()
    assert row.index(tokenizer.eos_token_id) == counts[0] - 1 == len(row) - 1
    assert row.count(tokenizer.bos_token_id) == 1
    assert row[0] == tokenizer.bos_token_id


@pytest.mark.parametrize("eos_token_id", [2, None])
@torch.inference_mode()
def test_text_features_special_tokens_in_prompt_pool_at_the_end(
    eos_token_id: int | None,
    tokenizer: CLIPTokenizer,
    random_backbone: Callable[..., CLIPBackbone],
) -> None:
    backbone = random_backbone()
    if eos_token_id is not None:
        # What old configuration files hold: the tower then pools at the largest id.
        backbone.clip.text_model.eos_token_id = eos_token_id
    inputs = TextInputs(tokenizer, context=20, cleaning="open_clip")
    prompts = ["a <|endoftext|> cube", "red", "two <|startoftext|> cats on a table <|endoftext|>"]
    ids, counts = inputs.token_ids(prompts)
    states = backbone.clip.text_model(input_ids=ids).last_hidden_state
    ends = torch.tensor([min(count, 20) - 1 for count in counts])
    expected = backbone.clip.text_projection(states[torch.arange(3), ends])
    torch.testing.assert_close(backbone.text_features(ids), expected, rtol=1e-6, atol=1e-6)


def test_token_ids_long_prompt_is_cut_and_counted(tokenizer: CLIPTokenizer) -> None:
    inputs = TextInputs(tokenizer, context=6, cleaning="open_clip")
    ids, counts = inputs.token_ids(["a a a a", "a " * 9, "a"])
    assert ids.shape == (3, 6)
    assert counts == [6, 11, 3]
    assert ids[:, -1].tolist() == [tokenizer.eos_token_id] * 3
    assert ids[2, 2:].tolist() == [tokenizer.eos_token_id] * 4
    assert ids[0].tolist() == ids[1].tolist()


def test_token_ids_no_prompt_is_refused(tokenizer: CLIPTokenizer) -> None:
    with pytest.raises(ShapeError, match="0 prompts"):
        TextInputs(tokenizer, context=6, cleaning="open_clip").token_ids([])


@pytest.mark.parametrize(
    ("prompt", "cleaned"),
    [
        ("  A   Red\n\tCUBE ", "a red cube"),
        ("cats &amp;amp; dogs", "cats & dogs"),
        ("caf\u00c3\u00a9", "caf\u00e9"),
        ("\u2018open\u2019", "'open'"),
        ("", ""),
    ],
)
def test_clean_open_clip_repairs_unescapes_folds_and_lowers(
    tokenizer: CLIPTokenizer, prompt: str, cleaned: str
) -> None:
    assert TextInputs(tokenizer, context=6, cleaning="open_clip").clean(prompt) == cleaned
    assert TextInputs(tokenizer, context=6, cleaning="none").clean(prompt) == prompt
