"""The text side: how a scene is put into words, a tokenizer of those words, and a small UMT5.

    python -m weights.train.text OUT

The encoder learns to say, of any phrasing, which colour, shape, motion, speed and background were
meant; the experts are then trained on its embeddings, as Wan's were on those of a UMT5 that was
finished before.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import UMT5Config, UMT5EncoderModel

from wan_local.stages.prompt import tokenize
from weights.small_tokenizer import CORPUS, write_tokenizer
from weights.train.clips import BACKGROUNDS, COLOURS, MOTIONS, SHAPES, SPEEDS, Scene, random_scene
from weights.train.progress import Course

DIM = 64
ATTRIBUTES: dict[str, list[str]] = {
    "colour": list(COLOURS),
    "shape": list(SHAPES),
    "motion": list(MOTIONS),
    "speed": list(SPEEDS),
    "background": list(BACKGROUNDS),
}
UNSAID = -100
"""Label of what a phrasing leaves open."""
MOVING = {"moving left": "left", "moving right": "right", "moving up": "up", "moving down": "down"}


def phrase(scene: Scene, generator: torch.Generator) -> str:
    """Put *scene* into words: mostly its caption, sometimes other words, sometimes fewer."""
    return _say(scene, generator)[0]


def _say(scene: Scene, generator: torch.Generator) -> tuple[str, set[str]]:
    """Return a phrasing, and the attributes that it says."""
    draw = float(torch.rand((), generator=generator))
    still = scene.motion == "standing still"
    said = set(ATTRIBUTES) - ({"speed"} if still else set())
    how = scene.motion if still else f"{scene.motion} {scene.speed}"
    thing = f"{scene.colour} {scene.shape}"
    if draw < 0.5:
        return scene.caption, said
    if draw < 0.6:
        return f"{thing}, {how}, {scene.background} background", said
    if draw < 0.7:
        return f"over a {scene.background} background, the {thing} is {how}", said
    if draw < 0.8:
        return f"A video of a {thing} {how}, {scene.background} background.", said
    if draw < 0.87:
        return f"a {thing} {how}", said - {"background"}
    if draw < 0.94:
        return f"a {thing} {scene.motion}", said - {"background", "speed"}
    if draw < 0.97:
        return f"a {thing} over a {scene.background} background", said - {"motion", "speed"}
    return f"a {thing}", {"colour", "shape"}


def corpus() -> list[str]:
    """Return what the tokenizer is trained on: phrasings, and a little other English."""
    generator = torch.Generator().manual_seed(0)
    return [phrase(random_scene(generator), generator) for _ in range(3000)] + CORPUS * 5


def build(vocabulary: int) -> UMT5EncoderModel:
    """Return a fresh encoder in UMT5's layout."""
    return UMT5EncoderModel(
        UMT5Config(
            vocab_size=vocabulary,
            d_model=DIM,
            d_kv=16,
            d_ff=128,
            num_layers=2,
            num_decoder_layers=2,
            num_heads=4,
            relative_attention_num_buckets=16,
            relative_attention_max_distance=32,
            feed_forward_proj="gated-gelu",
            pad_token_id=0,
            eos_token_id=1,
            decoder_start_token_id=0,
        )
    )


class Texts:
    """Embeds phrases in batches."""

    def __init__(self, folder: Path, encoder: nn.Module) -> None:
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._encoder = encoder

    def embed(self, phrases: list[str]) -> tuple[Tensor, Tensor]:
        """Return embeddings [phrases, longest, DIM], zero past each end, and lengths [phrases]."""
        ids = [tokenize(self._tokenizer, text).ids for text in phrases]
        lengths = torch.tensor([len(row) for row in ids])
        padded = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in ids], batch_first=True)
        mask = torch.arange(padded.shape[1])[None] < lengths[:, None]
        embeds = self._encoder(padded, mask.long()).last_hidden_state
        return embeds * mask[..., None], lengths


class Quiz(nn.Module):
    """An encoder and the questions it is trained on: one attention and one answer an attribute."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.questions = nn.Parameter(torch.randn(len(ATTRIBUTES), DIM) / 8)
        self.answers = nn.ModuleList(nn.Linear(DIM, len(v)) for v in ATTRIBUTES.values())

    def loss(self, texts: Texts, generator: torch.Generator) -> tuple[Tensor, float]:
        """Ask about 64 phrasings; return the loss and the share of right answers."""
        scenes = [random_scene(generator) for _ in range(64)]
        said = [_say(scene, generator) for scene in scenes]
        embeds, lengths = texts.embed([text for text, _ in said])
        past = torch.arange(embeds.shape[1])[None] >= lengths[:, None]
        scores = (self.questions @ embeds.transpose(1, 2)).masked_fill(past[:, None], -1e4)
        seen = scores.softmax(-1) @ embeds
        loss, right = torch.zeros(()), []
        for index, (name, values) in enumerate(ATTRIBUTES.items()):
            labels = torch.tensor(
                [
                    values.index(getattr(scene, name)) if name in mentioned else UNSAID
                    for scene, (_, mentioned) in zip(scenes, said, strict=True)
                ]
            )
            logits = self.answers[index](seen[:, index])
            loss = loss + nn.functional.cross_entropy(logits, labels, ignore_index=UNSAID)
            right += (logits.argmax(1) == labels)[labels != UNSAID].tolist()
        return loss, sum(right) / len(right)


def train(out: Path, minutes: float = 3, seed: int = 0) -> None:
    """Write `tokenizer` and `text_encoder` into *out*."""
    torch.manual_seed(seed)
    torch.set_flush_denormal(True)
    encoder = build(write_tokenizer(out / "tokenizer", corpus()))
    quiz, texts = Quiz(encoder), Texts(out / "tokenizer", encoder)
    course = Course(quiz, out / "course", minutes=minutes, rate=2e-3, seed=seed)
    for _ in course:
        loss, right = quiz.loss(texts, course.generator)
        course.learn(loss, right=right)
    finished = course.average().encoder
    # transformers ties the table of embeddings under two names; the copy must be tied again.
    finished.tie_weights()
    finished.half().save_pretrained(out / "text_encoder")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=3)
    flags = parser.parse_args()
    train(flags.out, flags.minutes)
