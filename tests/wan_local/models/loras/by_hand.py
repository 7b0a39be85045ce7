"""LoRA files as each trainer and exporter writes them, and what each adds to the weights, by hand.

The truth is built here from random halves, in float64, by names written out: nothing of the product
is used. Shapes are those of the small checkpoint's experts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

RANK, ALPHA, WIDTH, FFN, BLOCKS = 4, 2.0, 48, 96, 2

# Wan's own name -> diffusers' name, rows, columns
_BLOCK = {
    **{
        f"{own}.{q}": (f"{theirs}.{to}", WIDTH, WIDTH)
        for own, theirs in (("self_attn", "attn1"), ("cross_attn", "attn2"))
        for q, to in (("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("o", "to_out.0"))
    },
    "ffn.0": ("ffn.net.0.proj", FFN, WIDTH),
    "ffn.2": ("ffn.net.2", WIDTH, FFN),
}
BLOCK = {
    f"blocks.{i}.{own}": (f"blocks.{i}.{theirs}", rows, columns)
    for i in range(BLOCKS)
    for own, (theirs, rows, columns) in _BLOCK.items()
}
OUTER = {
    "time_embedding.0": ("condition_embedder.time_embedder.linear_1", WIDTH, 32),
    "time_embedding.2": ("condition_embedder.time_embedder.linear_2", WIDTH, WIDTH),
    "time_projection.1": ("condition_embedder.time_proj", 6 * WIDTH, WIDTH),
    "text_embedding.0": ("condition_embedder.text_embedder.linear_1", WIDTH, 32),
    "text_embedding.2": ("condition_embedder.text_embedder.linear_2", WIDTH, WIDTH),
    "head.head": ("proj_out", 64, WIDTH),
}
LINEAR = BLOCK | OUTER
ATTENTION = {own: row for own, row in BLOCK.items() if "attn" in own}
SECOND_BLOCK = {own: row for own, row in BLOCK.items() if own.startswith("blocks.1.")}


@dataclass
class Lora:
    """A file, and what it adds to each weight of the high and the low-noise expert."""

    file: dict[str, torch.Tensor] = field(default_factory=dict)
    high: dict[str, torch.Tensor] = field(default_factory=dict)
    low: dict[str, torch.Tensor] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    beside: dict[str, object] | None = None
    """`adapter_config.json` in the same folder."""
    unused: int = 0
    """Keys that change nothing, each for a reason that the report gives."""

    def add(self, weight: str, delta: torch.Tensor, experts: str = "both") -> None:
        for name in ("high", "low"):
            if experts in {name, "both"}:
                truth = getattr(self, name)
                truth[weight] = truth.get(weight, 0) + delta.double()


class Random:
    """Numbers that are the same in each run, and differ between calls."""

    def __init__(self, seed: int = 7) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=self._generator) * 0.15


def pairs(
    layers: dict[str, tuple[str, int, int]] = BLOCK,
    *,
    prefix: str = "",
    down: str = ".lora_down.weight",
    up: str = ".lora_up.weight",
    alpha: float | None = ALPHA,
    named: str = "own",
    flat: bool = False,
    experts: str = "both",
    seed: int = 7,
) -> Lora:
    """A low-rank pair for each of *layers*."""
    rnd, lora = Random(seed), Lora()
    for own, (theirs, rows, columns) in layers.items():
        name = own if named == "own" else theirs
        stem = prefix + (name.replace(".", "_") if flat else name)
        a, b = rnd(RANK, columns), rnd(rows, RANK)
        lora.file |= {stem + down: a, stem + up: b}
        if alpha is not None:
            lora.file[f"{stem}.alpha"] = torch.tensor(alpha)
        scale = 1 if alpha is None else alpha / RANK
        lora.add(f"{theirs}.weight", scale * (b.double() @ a.double()), experts)
    return lora


def diffusers(**changes) -> Lora:
    ab = {"down": ".lora_A.weight", "up": ".lora_B.weight", "alpha": None, "named": "theirs"}
    return pairs(**{"prefix": "transformer.", **ab, **changes})


def original(**changes) -> Lora:
    ab = {"down": ".lora_A.weight", "up": ".lora_B.weight", "alpha": None}
    return pairs(**{"prefix": "diffusion_model.", **ab, **changes})


def kohya(prefix: str = "lora_unet_", **changes) -> Lora:
    return pairs(**{"prefix": prefix, "flat": True, **changes})


def merged(first: Lora, second: Lora) -> Lora:
    lora = Lora(first.file | second.file)
    for part in (first, second):
        for expert in ("high", "low"):
            for weight, delta in getattr(part, expert).items():
                lora.add(weight, delta, expert)
    return lora


def combo(first: str, second: str, **changes) -> Lora:
    """One file with both halves, as ai-toolkit and diffusers write them."""
    high = pairs(prefix=first, experts="high", **changes)
    return merged(high, pairs(prefix=second, experts="low", seed=8, **changes))


def with_biases(lora: Lora, layers=BLOCK, prefix="diffusion_model.") -> Lora:
    rnd = Random(9)
    for own, (theirs, rows, _) in layers.items():
        lora.file[f"{prefix}{own}.diff_b"] = rnd(rows)
        lora.add(f"{theirs}.bias", lora.file[f"{prefix}{own}.diff_b"])
    return lora


def distilled() -> Lora:
    """lightx2v's: pairs, biases, norms, modulations, head and patch embedding as differences."""
    prefix, rnd = "diffusion_model.", Random(10)
    lora = with_biases(pairs(LINEAR, prefix=prefix, alpha=8.0), LINEAR)
    for i in range(BLOCKS):
        whole = {
            f"blocks.{i}.norm3.diff": (f"blocks.{i}.norm2.weight", (WIDTH,)),
            f"blocks.{i}.norm3.diff_b": (f"blocks.{i}.norm2.bias", (WIDTH,)),
            f"blocks.{i}.self_attn.norm_q.diff": (f"blocks.{i}.attn1.norm_q.weight", (WIDTH,)),
            f"blocks.{i}.cross_attn.norm_k.diff": (f"blocks.{i}.attn2.norm_k.weight", (WIDTH,)),
            f"blocks.{i}.diff_m": (f"blocks.{i}.scale_shift_table", (1, 6, WIDTH)),
        }
        for key, (weight, shape) in whole.items():
            lora.file[prefix + key] = rnd(*shape)
            lora.add(weight, lora.file[prefix + key])
    outer = {
        "head.diff_m": ("scale_shift_table", (1, 2, WIDTH)),
        "patch_embedding.diff": ("patch_embedding.weight", (WIDTH, 16, 1, 2, 2)),
        "patch_embedding.diff_b": ("patch_embedding.bias", (WIDTH,)),
    }
    for key, (weight, shape) in outer.items():
        lora.file[prefix + key] = rnd(*shape)
        lora.add(weight, lora.file[prefix + key])
    return lora


def modulation_as_difference() -> Lora:
    rnd, lora = Random(11), pairs(prefix="diffusion_model.")
    for key, weight, shape in (
        ("blocks.0.modulation.diff", "blocks.0.scale_shift_table", (1, 6, WIDTH)),
        ("head.modulation.diff", "scale_shift_table", (1, 2, WIDTH)),
        ("head.head.diff", "proj_out.weight", (64, WIDTH)),
    ):
        lora.file[f"diffusion_model.{key}"] = rnd(*shape)
        lora.add(weight, lora.file[f"diffusion_model.{key}"])
    return lora


def norms_of_diffusers() -> Lora:
    """The norm before cross-attention: diffusers' norm2, and norm3 in Wan's own code."""
    lora, rnd = diffusers(), Random(12)
    for i in range(BLOCKS):
        lora.file[f"transformer.blocks.{i}.norm2.diff"] = rnd(WIDTH)
        lora.add(f"blocks.{i}.norm2.weight", lora.file[f"transformer.blocks.{i}.norm2.diff"])
    return lora


def lycoris_norms() -> Lora:
    lora, rnd = kohya(), Random(13)
    for i in range(BLOCKS):
        lora.file |= {f"lora_unet_blocks_{i}_norm3.{n}_norm": rnd(WIDTH) for n in ("w", "b")}
        lora.add(f"blocks.{i}.norm2.weight", lora.file[f"lora_unet_blocks_{i}_norm3.w_norm"])
        lora.add(f"blocks.{i}.norm2.bias", lora.file[f"lora_unet_blocks_{i}_norm3.b_norm"])
    return lora


def with_image_keys() -> Lora:
    """A LoRA of Wan 2.1 image-to-video, whose image cross-attention Wan 2.2 does not have."""
    lora, rnd = pairs(prefix="diffusion_model."), Random(14)
    for stem in [f"blocks.{i}.cross_attn.{n}" for i in range(BLOCKS) for n in ("k_img", "v_img")]:
        lora.file[f"diffusion_model.{stem}.lora_down.weight"] = rnd(RANK, WIDTH)
        lora.file[f"diffusion_model.{stem}.lora_up.weight"] = rnd(WIDTH, RANK)
        lora.file[f"diffusion_model.{stem}.alpha"] = torch.tensor(ALPHA)
    lora.file["diffusion_model.blocks.0.cross_attn.norm_k_img.diff"] = rnd(WIDTH)
    lora.file["diffusion_model.img_emb.proj.1.diff_b"] = rnd(1280)
    lora.unused = 3 * 2 * BLOCKS + 2
    return lora


def of_the_other_task() -> Lora:
    """An image-to-video file on text-to-video: 36 channels go into its patch embedding."""
    lora = pairs(prefix="diffusion_model.")
    lora.file["diffusion_model.patch_embedding.diff"] = Random(15)(WIDTH, 36, 1, 2, 2)
    lora.unused = 1
    return lora


def with_convolution() -> Lora:
    lora, rnd = pairs(prefix="diffusion_model."), Random(16)
    down, up = rnd(RANK, 16, 1, 2, 2), rnd(WIDTH, RANK, 1, 1, 1)
    lora.file |= {
        "diffusion_model.patch_embedding.lora_down.weight": down,
        "diffusion_model.patch_embedding.lora_up.weight": up,
        "diffusion_model.patch_embedding.alpha": torch.tensor(ALPHA),
    }
    delta = torch.einsum("or,rcthw->octhw", up.double().flatten(1), down.double())
    lora.add("patch_embedding.weight", delta * ALPHA / RANK)
    return lora


def with_middle() -> Lora:
    """LoCon's decomposition of a convolution: 1×1, the kernel at low rank, 1×1."""
    lora, rnd = pairs(prefix="diffusion_model."), Random(17)
    up, mid, down = rnd(WIDTH, RANK, 1, 1, 1), rnd(RANK, 3, 1, 2, 2), rnd(3, 16, 1, 1, 1)
    stem = "diffusion_model.patch_embedding"
    lora.file |= {
        f"{stem}.lora_up.weight": up,
        f"{stem}.lora_mid.weight": mid,
        f"{stem}.lora_down.weight": down,
    }
    halves = (up.double().flatten(1), mid.double(), down.double().flatten(1))
    lora.add("patch_embedding.weight", torch.einsum("or,rsthw,sc->octhw", *halves) * 1.0)
    return lora


def with_dora(key: str, shape: Callable[[int, int], tuple[int, ...]], base) -> Lora:
    """Halves and new lengths for the rows, or columns, of the merged weight; *base* has weights."""
    lora = original()
    for own, (theirs, rows, columns) in BLOCK.items():
        weight = f"{theirs}.weight"
        magnitude = Random(18)(*shape(rows, columns)).abs() + 1
        lora.file[f"diffusion_model.{own}{key}"] = magnitude
        side = 0 if magnitude.shape[0] == 1 and magnitude.ndim > 1 else 1
        whole = base[weight].double() + lora.high[weight]
        lengths = whole.square().sum(side, keepdim=True).sqrt()
        lora.high[weight] = lora.low[weight] = (
            magnitude.double().reshape(lengths.shape) / lengths * whole - base[weight].double()
        )
    return lora


def loha(prefix: str = "lora_unet_", flat: bool = True) -> Lora:
    rnd, lora = Random(19), Lora()
    for own, (theirs, rows, columns) in BLOCK.items():
        stem = prefix + (own.replace(".", "_") if flat else own)
        halves = [rnd(rows, RANK), rnd(RANK, columns), rnd(rows, RANK), rnd(RANK, columns)]
        names = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
        lora.file |= {f"{stem}.{name}": half for name, half in zip(names, halves, strict=True)}
        lora.file[f"{stem}.alpha"] = torch.tensor(ALPHA)
        a, b, c, d = (half.double() for half in halves)
        lora.add(f"{theirs}.weight", (a @ b) * (c @ d) * ALPHA / RANK)
    return lora


def loha_convolution() -> Lora:
    lora, rnd = loha("diffusion_model.", flat=False), Random(20)
    stem = "diffusion_model.patch_embedding."
    factors = []
    for number in (1, 2):
        a, b, t = rnd(RANK, WIDTH), rnd(RANK, 16), rnd(RANK, RANK, 1, 2, 2)
        names = (f"hada_w{number}_a", f"hada_w{number}_b", f"hada_t{number}")
        lora.file |= {stem + name: part for name, part in zip(names, (a, b, t), strict=True)}
        factors.append(torch.einsum("ro,sc,rsthw->octhw", a.double(), b.double(), t.double()))
    lora.add("patch_embedding.weight", factors[0] * factors[1])
    return lora


def lokr(first: str = "whole", second: str = "pair", prefix: str = "lycoris_") -> Lora:
    rnd, lora = Random(21), Lora()
    for own, (theirs, rows, columns) in BLOCK.items():
        stem = prefix + own.replace(".", "_")
        factors = []
        for number, how, sides in (
            (1, first, (4, 4)),
            (2, second, (rows // 4, columns // 4)),
        ):
            if how == "whole":
                factor = rnd(*sides)
                lora.file[f"{stem}.lokr_w{number}"] = factor
                factors.append(factor.double())
            else:
                a, b = rnd(sides[0], RANK), rnd(RANK, sides[1])
                lora.file |= {f"{stem}.lokr_w{number}_a": a, f"{stem}.lokr_w{number}_b": b}
                factors.append(a.double() @ b.double())
        lora.file[f"{stem}.alpha"] = torch.tensor(ALPHA)
        scale = 1 if (first, second) == ("whole", "whole") else ALPHA / RANK
        product = torch.einsum("ij,kl->ikjl", *factors).reshape(rows, columns)
        lora.add(f"{theirs}.weight", scale * product)
    return lora


def peft(prefix: str = "base_model.model.", **config) -> Lora:
    """PEFT's own folder: the strength stands in a file beside the weights."""
    lora = diffusers(prefix=prefix)
    layers = ["to_q", "to_k", "to_v", "to_out.0", "net.0.proj", "net.2"]
    settings = {"r": RANK, "lora_alpha": 8, "use_rslora": False, "target_modules": layers, **config}
    root = math.sqrt(RANK) if settings["use_rslora"] else RANK
    for weight in lora.high:
        alpha = settings["lora_alpha"]
        for ending, other in settings.get("alpha_pattern", {}).items():
            alpha = other if weight.removesuffix(".weight").endswith(ending) else alpha
        lora.high[weight] = lora.low[weight] = lora.high[weight] * alpha / root
    lora.beside = settings
    return lora


def peft_in_metadata(**config) -> Lora:
    """The same, as diffusers' `save_lora_weights` writes it into the file."""
    lora = peft("transformer.", **config)
    packed = {f"transformer.{name}": value for name, value in lora.beside.items()}
    lora.metadata = {"lora_adapter_metadata": json.dumps(packed)}
    lora.beside = None
    return lora


def with_bias_of_b() -> Lora:
    """PEFT's `lora_bias`: the bias of the upper half is scaled as the product is."""
    lora, rnd = peft(), Random(22)
    for theirs, rows, _ in BLOCK.values():
        bias = rnd(rows)
        lora.file[f"base_model.model.{theirs}.lora_B.bias"] = bias
        lora.add(f"{theirs}.bias", bias.double() * 8 / RANK)
    return lora


def in_float8() -> Lora:
    """Halves in float8: what they mean is what is left of them."""
    lora = Lora()
    for key, half in original().file.items():
        lora.file[key] = half.to(torch.float8_e4m3fn)
    for own, (theirs, _, _) in BLOCK.items():
        a, b = (
            lora.file[f"diffusion_model.{own}.lora_{half}.weight"].to(torch.float64)
            for half in "AB"
        )
        lora.add(f"{theirs}.weight", b @ a)
    return lora


def without_suffix() -> Lora:
    return pairs(prefix="diffusion_model.", down=".lora_A", up=".lora_B", alpha=None)
