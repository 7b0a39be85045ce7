"""What small interpolation networks begin as, and what they are told is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from wan_local.interpolation.film import film_layout
from wan_local.interpolation.rife import rife_layout
from weights.train.motion import Difficulty, triplets
from weights.train.pupils import (
    FILM,
    NARROW,
    NOISE,
    PUPILS,
    ROUNDING,
    UNREST,
    WIDE,
    Strictness,
    log_error,
    small_film,
    small_rife,
)
from weights.train.textures import textures


@pytest.fixture(scope="module")
def triplet():
    generator = torch.Generator().manual_seed(0)
    return triplets(textures(4, generator), 2, 64, Difficulty(6, 0.03), generator, halfway=True)


@pytest.mark.parametrize("name", PUPILS)
def test_a_network_begins_near_fading(name, triplet):
    """Where nothing moves it has nothing to learn, only to keep."""
    torch.manual_seed(0)
    lesson = PUPILS[name].learn(PUPILS[name].make(), triplet, Strictness(1.0, 0.0))
    faded = (triplet.first + triplet.second) / 2

    assert (lesson.picture - faded).abs().mean() < 0.05


@pytest.mark.parametrize("name", PUPILS)
def test_a_wrong_flow_costs_more_the_more_it_counts(name, triplet):
    """The true flow is what made the first networks learn at all."""
    torch.manual_seed(0)
    network, learn = PUPILS[name].make(), PUPILS[name].learn
    without, slack, whole = (
        float(learn(network, triplet, strictness).loss.detach())
        for strictness in (Strictness(0.0, 0.0), Strictness(1.0, 1.0), Strictness(1.0, 0.0))
    )

    assert without < slack < whole


def test_the_files_of_small_networks_are_read_by_their_shapes():
    """As the published ones are."""
    assert small_rife().layout == rife_layout(small_rife().state_dict())
    assert all(film_layout(small_film(each).state_dict()) == each for each in (NARROW, FILM, WIDE))


def test_halving_the_error_is_worth_the_same_everywhere():
    """In a scene at 50 dB as in one at 20, which a plain difference would drown it with."""
    truth = torch.full((1, 3, 32, 32), 0.5)
    gains = [
        float(log_error(truth + 2 * error, truth, NOISE) - log_error(truth + error, truth, NOISE))
        for error in (0.02, 0.1)
    ]

    assert gains[0] == pytest.approx(gains[1], abs=0.05)
    assert log_error(truth, truth, NOISE) < -11
    assert log_error(truth, truth, ROUNDING) < -13


@pytest.mark.parametrize("name", PUPILS)
def test_every_weight_is_learned_once(name):
    """A layer that no optimizer holds stays random; one that two hold is learned twice."""
    network = PUPILS[name].make()
    held = [
        id(parameter)
        for optimizer, _ in PUPILS[name].optimizers(network)
        for group in optimizer.param_groups
        for parameter in group["params"]
    ]

    learned = {id(p) for n, p in network.named_parameters() if is_learned(name, n)}

    assert sorted(held) == sorted(learned)


FLOWS = ("extract.", "predict_flow.")
LEARNED = {
    "film-flows": FLOWS,
    "film-wide": FLOWS,
    "film-fine": "predict_flow._predictors.",
    "film-finest": ("predict_flow._predictors.1.", "predict_flow._predictors.2."),
}
"""What the names of the weights begin with that are."""


def is_learned(pupil, name):
    return name.startswith(LEARNED.get(pupil, ""))


@pytest.mark.parametrize("name", LEARNED)
def test_a_part_of_film_is_taught_alone(name, triplet):
    """The rest is that of a finished network, and stays so."""
    pupil = PUPILS[name]
    net = pupil.make()
    before = {name: weight.clone() for name, weight in net.state_dict().items()}
    optimizers = pupil.optimizers(net)
    pupil.learn(net, triplet, Strictness(0.15, 1.0)).loss.backward()
    for optimizer, rate in optimizers:
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
    changed = {key for key, weight in net.state_dict().items() if not weight.equal(before[key])}

    assert changed == {key for key in before if is_learned(name, key)}


def test_film_is_taught_as_it_works(triplet):
    """Both ways at once, for speed: the picture is the one that `between` makes."""
    torch.manual_seed(0)
    net = small_film().eval()
    taught = PUPILS["film"].learn(net, triplet, Strictness(1.0, 0.0)).picture
    with torch.inference_mode():
        made = next(net.between(net.see(triplet.first), net.see(triplet.second), [0.5]))

    assert torch.allclose(taught.clamp(0, 1), made, atol=1e-5)


def test_film_goes_on_from_a_narrow_one(triplet):
    """Training has a second pupil for it; what the first has learned shows the same picture."""
    narrow, wide = small_film(NARROW), small_film()
    PUPILS["film"].put(wide, narrow.state_dict())
    before, after = (
        PUPILS["film"].learn(net, triplet, Strictness(1.0, 0.0)).picture for net in (narrow, wide)
    )

    assert torch.allclose(before, after, atol=1e-5)


def test_a_decoder_that_hides_its_flows_does_not_save_them(triplet):
    """They are judged by what they move, and not only by the picture that is drawn from it."""
    net = small_film()
    torch.nn.init.zeros_(net.fuse.output_conv.weight)
    PUPILS["film"].learn(net, triplet, Strictness(0.0, 0.0)).loss.backward()
    finest = list(net.predict_flow._predictors.children())[-1]

    assert finest._convs[-1][0].bias.grad.abs().min() > 0


@pytest.fixture(scope="module")
def still():
    generator = torch.Generator().manual_seed(0)
    return triplets(textures(4, generator), 2, 64, Difficulty(0, 0), generator, halfway=True)


def test_a_flow_where_nothing_moves_is_wrong_however_small(still):
    """Elsewhere up to a pixel costs nothing; there every tenth of one blurs."""
    torch.manual_seed(0)
    net = small_film()
    with torch.no_grad():
        motion = net.motion(net.see(still.first), net.see(still.second))
    free, bound = (
        float(PUPILS["film"].learn(net, still, Strictness(0.0, slack)).loss.detach())
        for slack in (0.0, 1.0)
    )
    flows = motion.forth[0].abs().mean() + motion.back[0].abs().mean()

    assert flows > 0.01
    assert bound - free == pytest.approx(UNREST * float(flows), rel=0.01)


def lose_coarsely(triplet, coarse):
    """Return what is lost on *triplet* by flows of *coarse* that finer ones make up for."""
    net = PUPILS["film-wide"].make()
    shared, *own = net.predict_flow._predictor, *net.predict_flow._predictors
    for predictor in (shared, *own):
        torch.nn.init.zeros_(predictor._convs[-1][0].weight)
    # Levels 6 to 3 come to 1, 3, 7 and 15 times the shared one's, of which level 2 has twice.
    torch.nn.init.constant_(shared._convs[-1][0].bias, coarse)
    torch.nn.init.constant_(own[0]._convs[-1][0].bias, -30 * coarse)
    return PUPILS["film-wide"].learn(net, triplet, Strictness(0.0, 0.0))


def test_coarse_flows_are_to_rest_too(still):
    """Though the finer ones make up for them: of a real frame they do not quite."""
    quiet, restless = lose_coarsely(still, 0.0), lose_coarsely(still, 0.01)

    assert torch.allclose(quiet.picture, restless.picture, atol=1e-5)
    assert restless.loss - quiet.loss > 1


def test_a_coarse_flow_may_follow_what_is_small(still):
    """A pixel of the coarsest level holds 64 × 64; one of them that moves is reason enough."""
    velocity = [torch.zeros_like(still.velocity[0]) for _ in range(3)]
    for each in velocity:
        each[:, 0, 40, 40] = 8.0
    moving = replace(still, velocity=tuple(velocity))

    assert lose_coarsely(moving, 0.01).loss < lose_coarsely(still, 0.01).loss - 1
