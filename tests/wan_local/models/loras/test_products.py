"""What the table of layouts does not reach."""

from __future__ import annotations

import torch

from wan_local.models.loras.products import PRODUCTS, decomposed, kronecker
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


def test_dora_gives_rows_their_lengths():
    """The merged direction, the trained length; a row of zeros is left alone."""
    pristine = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    delta = decomposed(pristine, torch.zeros(2, 2), torch.tensor([[10.0], [7.0]]))

    assert torch.equal(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), delta)
