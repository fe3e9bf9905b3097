from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from gnas.data.images.loading import Batch
from gnas.search.toponas import ArchParameters, ToponasConfig
from gnas.search.toponas.bilevel import (
    DOUBLE_AFTER,
    FIRST_SCALE,
    BilevelOptimizer,
    LossTerm,
)
from gnas.search.toponas.hessian import alpha_eigenvalue, dominant_eigenvalue
from gnas.spaces.supernets import SupernetConfig
from gnas.spaces.toponas.supernet import Supernet
from gnas.training.batching import micro_batches
from tests.models.plain_supernet import PlainSupernet
from tests.models.test_fused import needs_compiler
from tests.search.toponas.conftest import SmallSupernet, tiny

NETWORK = SupernetConfig(num_classes=4, channels=4, num_cells=3, num_nodes=5, stem_multiplier=1)


def batch(seed: int, count: int = 8) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 3, 8, 8, generator=generator, dtype=torch.float64)
    return x, torch.randint(0, 4, (count,), generator=generator)


def make(config: ToponasConfig, build: type[nn.Module] = SmallSupernet) -> BilevelOptimizer:
    """An bilevel in float64, far from the start, where every variable matters."""
    torch.manual_seed(0)
    arch = ArchParameters(config).double()
    with torch.no_grad():
        for parameter in arch.parameters():
            parameter.copy_(torch.randn_like(parameter))
    network = build(replace(NETWORK, num_nodes=config.num_nodes))
    return BilevelOptimizer(network.double(), arch, config)


def loss_of(bilevel: BilevelOptimizer, batch: Batch, w: dict[str, Tensor] | None = None) -> Tensor:
    weights: dict[str, Tensor] = dict(bilevel.supernet.named_parameters()) if w is None else w
    logits = functional_call(bilevel.supernet, weights, (batch[0], *bilevel.arch.mixed_weights()))
    return nn.functional.cross_entropy(logits, batch[1])


def exact_ahead(bilevel: BilevelOptimizer, train: Batch, lr: float) -> dict[str, Tensor]:
    """w' = w - lr (momentum * velocity + gradient + decay * w), as a function of alpha, beta."""
    names = dict(bilevel.supernet.named_parameters())
    slopes = torch.autograd.grad(loss_of(bilevel, train), list(names.values()), create_graph=True)
    config, ahead = bilevel.config, {}
    for (name, w), slope in zip(names.items(), slopes, strict=True):
        velocity = bilevel.w_optimizer.state[w].get("momentum_buffer", torch.zeros_like(w))
        ahead[name] = w - lr * (config.momentum * velocity + slope + config.weight_decay * w)
    return ahead


@pytest.mark.parametrize("method", ["darts", "milenas"])
@pytest.mark.parametrize("warm", [False, True])
def test_second_order_is_the_exact_hyper_gradient(method: str, warm: bool) -> None:
    lr = 0.3
    bilevel = make(tiny(order=2, regulariser=2.0))
    train, val = batch(1), batch(2)
    if warm:  # with momentum in the unrolled step
        bilevel.step(batch(3), batch(4), batch(5), lr)
    inputs = [*bilevel.arch.alphas(), *bilevel.arch.betas()]
    terms = [LossTerm(val, 0.7, penalties=("beta",))] + [LossTerm(train)] * (method == "milenas")
    before = [w.detach().clone() for w in bilevel.w]

    ahead = exact_ahead(bilevel, train, lr)
    objective = 0.7 * (loss_of(bilevel, val, ahead) + 2.0 * bilevel.arch.regulariser())
    if method == "milenas":
        objective = objective + loss_of(bilevel, train, ahead)
    exact = torch.autograd.grad(objective, inputs)
    first = bilevel.gradients(terms, inputs)[1]
    found = bilevel.unrolled_gradients(terms, inputs, train, lr)[1]

    for mine, truth, rough in zip(found, exact, first, strict=True):
        assert torch.allclose(mine, truth, rtol=1e-4, atol=1e-6)
        assert (mine - truth).norm() < 0.01 * (rough - truth).norm()
    assert all(torch.equal(w, old) for w, old in zip(bilevel.w, before, strict=True))


def test_milenas_adds_the_training_loss_and_joint_shares_the_batch() -> None:
    train, val, val_beta = batch(1), batch(2), batch(3)
    bilevel = make(tiny(method="milenas", val_weight=0.5, update="joint", regulariser=3.0))
    r = bilevel.arch.regulariser()
    objective = loss_of(bilevel, train) + 0.5 * (loss_of(bilevel, val) + 3.0 * r)
    inputs = [*bilevel.arch.alphas(), *bilevel.arch.betas()]
    expected = torch.autograd.grad(objective, inputs)
    seen: list[Tensor] = []
    for optimizer in bilevel.arch_optimizers.values():
        optimizer.register_step_pre_hook(
            lambda o, *_: seen.extend(p.grad for p in o.param_groups[0]["params"])
        )
    bilevel._update_arch(train, val, None, 0.1)
    assert all(torch.allclose(a, b) for a, b in zip(seen, expected, strict=True))

    seen.clear()
    bilevel = make(tiny(regulariser=3.0))  # alternating darts
    beta = bilevel.arch_optimizers["beta"]
    beta.register_step_pre_hook(
        lambda o, *_: seen.extend(
            torch.autograd.grad(
                loss_of(bilevel, val_beta) + 3.0 * bilevel.arch.regulariser(),
                bilevel.arch.betas(),
            )
            + tuple(p.grad for p in o.param_groups[0]["params"])
        )
    )
    bilevel._update_arch(train, val, val_beta, 0.1)
    half = len(seen) // 2
    assert all(torch.allclose(a, b) for a, b in zip(seen[:half], seen[half:], strict=True))


def test_each_variable_learns_from_its_own_batch_alone() -> None:
    config = tiny()
    batches = batch(1), batch(2), batch(3)
    base = make(config)
    base.step(*batches, lr=0.1)
    for changed, learner in enumerate(("w", "alpha", "beta")):
        other = make(config)
        train, alpha, beta = (batch(9) if k == changed else b for k, b in enumerate(batches))
        other.step(train, alpha, beta, lr=0.1)
        same = {
            "alpha": all(map(torch.equal, base.arch.alphas(), other.arch.alphas())),
            "w": all(map(torch.equal, base.w, other.w)),
        }
        if learner == "w":  # comes last, so alpha and beta do not see its batch
            assert same == {"alpha": True, "w": False}
            assert all(map(torch.equal, base.arch.betas(), other.arch.betas()))
        else:
            assert same["alpha"] == (learner == "beta")


def test_pieces_of_a_batch_average_to_the_batch() -> None:
    whole, pieces = make(tiny()), make(tiny(accumulate=4))
    terms = [LossTerm(batch(1), penalties=("beta",)), LossTerm(batch(2), 0.3)]
    for inputs in (lambda u: u.w, lambda u: list(u.arch.parameters())):
        shown, expected = whole.gradients(terms, inputs(whole))
        seen, found = pieces.gradients(terms, inputs(pieces))
        assert seen[0].loss == pytest.approx(shown[0].loss, rel=1e-12)
        assert seen[1].acc == shown[1].acc
        assert all(torch.allclose(a, b, rtol=1e-9) for a, b in zip(found, expected, strict=True))


def test_clipping_momentum_and_decay_are_those_of_sgd() -> None:
    config = tiny(gradient_clip=0.05, weight_decay=0.1)
    bilevel, reference = make(config), make(config)
    optimizer = torch.optim.SGD(reference.w, lr=0.2, momentum=0.9, weight_decay=0.1)
    for seed in range(3):
        bilevel._update_weights(batch(seed), 0.2)
        optimizer.zero_grad()
        loss_of(reference, batch(seed)).backward()  # type: ignore[no-untyped-call]
        assert nn.utils.clip_grad_norm_(reference.w, 0.05) > 0.05
        optimizer.step()
    for mine, truth in zip(bilevel.w, reference.w, strict=True):
        assert torch.allclose(mine, truth, rtol=1e-12)


def test_float16_skips_an_overflow_and_lowers_the_scale() -> None:
    bilevel = make(tiny(precision="float16"))
    before = [w.detach().clone() for w in bilevel.w]
    scale = float(bilevel.scaler.scale(torch.ones(())))
    infinite = [torch.full_like(w, torch.inf) for w in bilevel.w]
    bilevel._apply_gradients([bilevel.w_optimizer], infinite)
    assert bilevel.scaler.get_scale() == scale / 2 == FIRST_SCALE / 2
    assert all(map(torch.equal, before, bilevel.w))
    for step in range(DOUBLE_AFTER):
        assert bilevel.scaler.get_scale() == scale / 2, step
        bilevel._apply_gradients([bilevel.w_optimizer], [torch.ones_like(w) for w in bilevel.w])
    assert bilevel.scaler.get_scale() == scale
    assert not any(map(torch.equal, before, bilevel.w))


def test_float16_skips_alpha_and_beta_each_by_its_own_gradient() -> None:
    bilevel = make(tiny(precision="float16"))
    alphas, betas = bilevel.arch.alphas(), bilevel.arch.betas()
    before = [p.detach().clone() for p in (*alphas, *betas)]
    scale = float(bilevel.scaler.scale(torch.ones(())))
    gradients = [torch.full_like(p, torch.inf) for p in alphas]
    gradients += [torch.full_like(p, scale) for p in betas]
    bilevel._apply_gradients([*bilevel.arch_optimizers.values()], gradients)
    changed = [not torch.equal(a, b) for a, b in zip(before, (*alphas, *betas), strict=True)]
    assert changed == [False] * len(alphas) + [True] * len(betas)
    assert bilevel.scaler.get_scale() == scale / 2


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_gives_nearly_the_same_gradient(precision: str) -> None:
    found = []
    for p in ("float32", precision):
        bilevel = make(tiny(precision=p), PlainSupernet)
        bilevel.supernet.float()
        x, y = batch(1)
        found.append(bilevel.gradients([LossTerm((x.float(), y))], bilevel.arch.alphas())[1])
    for rough, truth in zip(found[1], found[0], strict=True):
        cosine = torch.cosine_similarity(rough.flatten(), truth.flatten(), dim=0)
        assert cosine > 0.95 and not torch.equal(rough, truth)


def test_no_topology_means_no_beta() -> None:
    config = replace(tiny(), topology="none")
    bilevel = make(config)
    assert set(bilevel.arch_optimizers) == {"alpha"}
    assert [a.shape for a in bilevel.arch.alphas()] == [(5, 8), (5, 8)]
    result = bilevel.step(batch(1), batch(2), None, 0.1)
    assert result.val_beta is None and math.isfinite(result.train.loss)


def test_in_the_first_epochs_only_w_learns() -> None:
    bilevel = make(tiny(warmup_share=0.5, epochs=2))
    before = [p.detach().clone() for p in bilevel.arch.parameters()]
    w = [p.detach().clone() for p in bilevel.w]
    result = bilevel.step(batch(1), batch(2), batch(3), 0.1, epoch=0)
    assert all(map(torch.equal, before, bilevel.arch.parameters()))
    assert not any(map(torch.equal, w, bilevel.w))
    other = make(tiny(warmup_share=0.5, epochs=2))
    assert result.val.loss == pytest.approx(float(loss_of(other, batch(2)).detach()))
    bilevel.step(batch(1), batch(2), batch(3), 0.1, epoch=1)
    assert not any(map(torch.equal, before, bilevel.arch.parameters()))


def test_penalty_of_alpha_grows_and_is_alphas_alone() -> None:
    config = tiny(alpha_penalty=4.0, epochs=3)
    bilevel = make(config)
    terms = [LossTerm(batch(1), penalties=("alpha",))]
    for epoch, weight in enumerate((0.0, 2.0, 4.0)):
        bilevel.epoch = epoch
        found = bilevel.gradients(terms, bilevel.arch.alphas())[1]
        objective = loss_of(bilevel, batch(1)) + weight * bilevel.arch.alpha_penalty()
        expected = torch.autograd.grad(objective, bilevel.arch.alphas())
        assert all(torch.allclose(a, b) for a, b in zip(found, expected, strict=True))


def test_beta_has_a_rate_of_its_own() -> None:
    bilevel = make(tiny(beta_lr=0.5))
    rates = {n: o.param_groups[0]["lr"] for n, o in bilevel.arch_optimizers.items()}
    assert rates == {"alpha": 0.05, "beta": 0.5}


@pytest.mark.parametrize("relaxation", ["gumbel", "dirichlet"])
def test_pieces_see_the_same_draw_and_batches_do_not(relaxation: str) -> None:
    found = []
    for pieces in (1, 4):
        bilevel = make(tiny(relaxation=relaxation, accumulate=pieces))
        torch.manual_seed(5)
        found.append(
            [bilevel.gradients([LossTerm(batch(1))], bilevel.arch.alphas())[1] for _ in range(2)]
        )
    for whole, parts in zip(*found, strict=True):
        assert all(torch.allclose(a, b, rtol=1e-9) for a, b in zip(whole, parts, strict=True))
    assert not torch.equal(found[0][0][0], found[0][1][0])


def test_a_draw_leaves_all_generators_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    bilevel = make(tiny(relaxation="gumbel"))
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    torch.manual_seed(3)
    assert seeded == [3]  # what a search does once, and must not do for every batch
    state = torch.get_rng_state()
    bilevel.mixed_weights(5)
    assert seeded == [3] and torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("relaxation", ["gumbel", "dirichlet"])
def test_second_order_of_a_drawn_supernet_is_exact(relaxation: str) -> None:
    """Both sides of the finite difference, and the step between them, are of one draw."""
    bilevel = make(tiny(order=2, relaxation=relaxation, samples=0))
    train, val, inputs, lr = batch(1), batch(2), bilevel.arch.alphas(), 0.3
    torch.manual_seed(5)
    inner, outer = bilevel.new_draw(), bilevel.new_draw()

    def loss(data: Batch, draw: int, w: dict[str, Tensor]) -> Tensor:
        logits = functional_call(bilevel.supernet, w, (data[0], *bilevel.mixed_weights(draw)))
        return nn.functional.cross_entropy(logits, data[1])

    names: dict[str, Tensor] = dict(bilevel.supernet.named_parameters())
    slopes = torch.autograd.grad(
        loss(train, inner, names), list(names.values()), create_graph=True
    )
    decay = bilevel.config.weight_decay
    ahead = {
        name: w - lr * (slope + decay * w)
        for (name, w), slope in zip(names.items(), slopes, strict=True)
    }
    exact = torch.autograd.grad(loss(val, outer, ahead), inputs)
    torch.manual_seed(5)
    found = bilevel.unrolled_gradients([LossTerm(val)], inputs, train, lr)[1]
    for mine, truth in zip(found, exact, strict=True):
        assert torch.allclose(mine, truth, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("build", "pieces", "nodes"),
    [(SmallSupernet, 1, 5), (SmallSupernet, 2, 5), (PlainSupernet, 1, 4)],
)
def test_eigenvalue_is_that_of_the_dense_hessian(
    build: type[nn.Module], pieces: int, nodes: int
) -> None:
    """The last one's eigenvalue of the largest magnitude is negative."""
    bilevel = make(tiny(accumulate=pieces, num_nodes=nodes), build)
    alphas, data = bilevel.arch.alphas(), batch(1)
    loss = torch.stack([loss_of(bilevel, piece) for piece in micro_batches(data, pieces)]).mean()
    slopes = torch.autograd.grad(loss, alphas, create_graph=True)
    slope = torch.cat([part.flatten() for part in slopes])
    rows = torch.autograd.grad(
        slope, alphas, torch.eye(len(slope), dtype=slope.dtype), is_grads_batched=True
    )
    hessian = torch.cat([part.flatten(1) for part in rows], 1)
    values = torch.linalg.eigvalsh(hessian)
    sizes: list[int] = []
    bilevel.supernet.register_forward_pre_hook(lambda _, images: sizes.append(len(images[0])))
    found = alpha_eigenvalue(bilevel, data, rounds=2000)
    assert found == pytest.approx(float(values.max()), rel=0.02)
    assert max(sizes) == len(data[1]) // pieces
    assert all(parameter.requires_grad for parameter in bilevel.w)


def test_largest_eigenvalue_where_the_dominant_one_is_negative() -> None:
    matrix = torch.diag(torch.tensor([-5.0, 3.0, 1.0], dtype=torch.float64))
    found = dominant_eigenvalue(lambda v: matrix @ v, torch.zeros(3, dtype=torch.float64), 500)
    assert found == pytest.approx(-5, rel=1e-3)
    shifted = dominant_eigenvalue(
        lambda v: matrix @ v - found * v, torch.zeros(3, dtype=torch.float64), 500
    )
    assert found + shifted == pytest.approx(3, rel=1e-2)


@needs_compiler
def test_the_c_kernels_return_after_the_hessian() -> None:
    supernet = Supernet(replace(NETWORK, kernels="native"))
    arch = ArchParameters(tiny())
    bilevel = BilevelOptimizer(supernet, arch, tiny())
    x, y = batch(1)
    assert math.isfinite(alpha_eigenvalue(bilevel, (x.float(), y), rounds=3))
    assert supernet.kernels == "native"
