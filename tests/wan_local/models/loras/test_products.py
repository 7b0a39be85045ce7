"""What the table of layouts does not reach."""

from __future__ import annotations

from math import prod

import pytest
import torch

from wan_local.models.loras.products import PRODUCTS, decomposed, hadamard, kronecker
from wan_local.models.loras.shapes import WHOLE


def test_every_kind_has_its_arithmetic():
    """A kind that can be read can be applied."""
    assert PRODUCTS.keys() == {*WHOLE, "diff"}


def test_a_kronecker_product_for_a_convolution_keeps_the_kernel_last():
    """LyCORIS multiplies the channels and leaves the kernel as it is."""
    first, second = torch.randn(4, 2), torch.randn(12, 8, 1, 2, 2)
    product = kronecker({"lokr_w1": first, "lokr_w2": second}).reshape(48, 16, 1, 2, 2)

    expected = torch.einsum("ij,klthw->ikjlthw", first, second).reshape(48, 16, 1, 2, 2)
    assert torch.equal(expected, product)


def test_lokr_in_tucker_form_is_its_full_tensor():
    """Kernel and rank in the middle, channels outside."""
    parts = {
        "lokr_w1": torch.randn(4, 2),
        "lokr_t2": torch.randn(3, 3, 1, 2, 2),
        "lokr_w2_a": torch.randn(3, 12),
        "lokr_w2_b": torch.randn(3, 8),
    }
    second = torch.einsum(
        "ro,sc,rsthw->octhw", parts["lokr_w2_a"], parts["lokr_w2_b"], parts["lokr_t2"]
    )

    expected = torch.kron(parts["lokr_w1"], second.flatten(1))
    assert torch.allclose(expected, kronecker(parts), atol=1e-5)


@pytest.mark.parametrize("kernel", [(), (1, 1), (1, 2, 2)])
def test_loha_may_have_a_middle_in_one_of_its_factors_alone(kernel):
    """A product of unequal dimensions is as large as the weight squared, or an error of torch's."""
    first = {
        "hada_w1_a": torch.randn(4, 48),
        "hada_w1_b": torch.randn(4, 16),
        "hada_t1": torch.randn(4, 4, *kernel),
    }
    columns = 16 * prod(kernel)
    second = {"hada_w2_a": torch.randn(48, 3), "hada_w2_b": torch.randn(3, columns)}
    middle = torch.einsum(
        "ijk,jr,ip->prk",
        first["hada_t1"].flatten(2) if kernel else first["hada_t1"][..., None],
        first["hada_w1_b"],
        first["hada_w1_a"],
    )

    expected = middle.flatten(1) * (second["hada_w2_a"] @ second["hada_w2_b"])
    assert torch.allclose(expected, hadamard(first | second), atol=1e-4)


def test_dora_gives_rows_their_lengths():
    """The merged direction, the trained length; a row of zeros is left alone."""
    pristine = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    delta = decomposed(pristine, torch.zeros(2, 2), torch.tensor([[10.0], [7.0]]))

    assert torch.equal(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), delta)
