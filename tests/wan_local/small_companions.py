"""A text classifier and a language model of a few kilobytes, whose answers are known beforehand.

Real modules of transformers, read from real folders; their weights are set and not learned.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import torch
from tokenizers import Tokenizer, pre_tokenizers, processors
from tokenizers.models import WordLevel
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

FORBIDDEN = "forbidden"
WINDOW = 24
CARRIER = (1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 0.0)
TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|> {{ message.content }} {% endfor %}"
    "<|assistant|>"
)


def write_text_classifier(folder: Path) -> Path:
    """Write a BERT of one layer that calls a text with the word `forbidden` NSFW."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", FORBIDDEN, *["a", "cat", "bakes", "the", "cake"]]
    _tokenizer(
        words, unknown="[UNK]", wrap=True, pad_token="[PAD]", model_max_length=WINDOW
    ).save_pretrained(folder)
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=len(words),
            hidden_size=1 + len(CARRIER),
            num_hidden_layers=1,
            num_attention_heads=1,
            intermediate_size=8,
            max_position_embeddings=WINDOW + 2,
            id2label={0: "SFW", 1: "NSFW"},
            label2id={"SFW": 0, "NSFW": 1},
        )
    ).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        for name, layer in model.named_modules():
            if isinstance(layer, nn.LayerNorm):
                layer.weight.fill_(1)
            if name.endswith(("self.value", "attention.output.dense", "pooler.dense")):
                layer.weight.copy_(torch.eye(len(layer.weight)))
        table = model.bert.embeddings.word_embeddings.weight
        table[:, 1:] = torch.tensor(CARRIER)
        table[words.index(FORBIDDEN), 0] = 4.0
        # Half way between no such word and one of them in a full window.
        clean, once = (_feature(model, words, count) for count in (0, 1))
        model.classifier.weight[1, 0] = 12 / (once - clean)
        model.classifier.bias[1] = -6 * (once + clean) / (once - clean)
    model.save_pretrained(folder)
    return folder


def write_language_model(folder: Path, says: str) -> Path:
    """Write a Llama that answers anything with *says*; with `...` at its end, for ever.

    Each token calls up the next one, whatever stands before: attention and MLP add nothing.
    """
    spoken = says.removesuffix("...").split()
    words = ["<unk>", "<end>", "<|system|>", "<|user|>", "<|assistant|>", *spoken]
    words += ["<spare>"] * (len(words) % 2)  # a head has an even number of channels
    last = spoken[-1] if says.endswith("...") else "<end>"
    chain = ["<|assistant|>", *spoken, last]
    tokenizer = _tokenizer(words, unknown="<unk>", eos_token="<end>")
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(words),
            hidden_size=len(words),
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
            max_position_embeddings=2048,
            bos_token_id=None,
            eos_token_id=words.index("<end>"),
            tie_word_embeddings=False,
        )
    ).eval()
    with torch.no_grad():
        layer = model.model.layers[0]
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
        model.model.embed_tokens.weight.copy_(torch.eye(len(words)))
        model.lm_head.weight.zero_()
        for token, following in itertools.pairwise(chain):
            model.lm_head.weight[words.index(following), words.index(token)] = 1
    model.save_pretrained(folder)
    return folder


def _feature(model, words, count):
    ids = [words.index(FORBIDDEN)] * count + [words.index("cat")] * (WINDOW - 2 - count)
    ids = torch.tensor([[words.index("[CLS]"), *ids, words.index("[SEP]")]])
    return model.bert(input_ids=ids).pooler_output[0, 0]


def _tokenizer(words, *, unknown, wrap=False, **names):
    tokenizer = Tokenizer(WordLevel({word: id for id, word in enumerate(words)}, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if wrap:
        marks = [("[CLS]", words.index("[CLS]")), ("[SEP]", words.index("[SEP]"))]
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=marks
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=unknown, **names)
