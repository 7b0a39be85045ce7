"""A small tokenizer in UMT5's layout: Unigram with byte fallback."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sentencepiece
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram

# <pad>, </s>, <s>, <unk>: the ids of google/umt5-xxl.
SPECIAL_TOKENS = ("<pad>", "</s>", "<s>", "<unk>")
CORPUS = """
a cat and a dog baking a cake together in a kitchen. the cat is carefully measuring flour while
the dog is stirring the batter with a wooden spoon. cinematic wide shot of an astronaut riding a
horse on the moon, slow motion, dolly zoom, golden hour, 35mm film. bright tones, overexposed,
static, blurred details, subtitles, style, works, paintings, images, worst quality, low quality,
jpeg compression residue, ugly, incomplete, extra fingers, deformed, still picture, many people
Two drops of ink fall into clear water; A red balloon rises over The city at night, 2024.
""".strip().splitlines()


def write_tokenizer(folder: Path, corpus: Sequence[str] = CORPUS) -> int:
    """Write a Unigram tokenizer with byte fallback and return the size of its vocabulary."""
    folder.mkdir(parents=True, exist_ok=True)
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*corpus] * 20),
        model_writer=model,
        vocab_size=512,
        model_type="unigram",
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        pad_piece="<pad>",
        byte_fallback=True,
        character_coverage=1.0,
        minloglevel=2,
        hard_vocab_limit=False,
        num_threads=1,
    )
    (folder / "spiece.model").write_bytes(model.getvalue())
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    ids = range(pieces.get_piece_size())
    unigram([(pieces.id_to_piece(id), pieces.get_score(id)) for id in ids]).save(
        str(folder / "tokenizer.json")
    )
    names = dict(
        zip(("pad_token", "eos_token", "bos_token", "unk_token"), SPECIAL_TOKENS, strict=True)
    )
    _write_json(folder / "special_tokens_map.json", names)
    settings = {"tokenizer_class": "T5Tokenizer", "model_max_length": 512, "extra_ids": 0}
    _write_json(folder / "tokenizer_config.json", settings | names)
    return len(ids)


def unigram(vocabulary: list[tuple[str, float]]) -> Tokenizer:
    """Return the fast tokenizer over *vocabulary*, built like umt5's."""
    tokenizer = Tokenizer(Unigram(vocabulary, unk_id=3, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.ByteFallback(),
            decoders.Metaspace(replacement="▁", prepend_scheme="always"),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS])
    return tokenizer


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")
