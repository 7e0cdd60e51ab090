"Diffusion and U-Net against known scores: moments, correlations, loss, inversion, guidance, symmetry, bad input."
import math

import numpy as np
import pytest
import torch

from metanb.core.device import normal
from metanb.core.diffusion import (
    Denoiser, Diffusion, clamp_x0, diffusion_loss, drop_condition, dynamic_threshold, invert_ddim, sample_ddim, sample_ddpm, sign_below)
from metanb.core.schedules import (
    SCHEDULES, Schedule, add_noise, cosine_schedule, eps_from_x0, linear_schedule, log_snr_schedule, make_schedule, step_grid, x0_from_eps)
from metanb.core.training import fit
from metanb.core.unet import GridConv, UNet

WEIGHTS, MEANS, SDS = (torch.tensor(v, dtype=torch.float64) for v in ([0.3, 0.7], [-2.0, 1.0], [0.3, 0.5]))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def ancestral(network, shape, *, schedule, generator=None, variance=None, progress=False, **model):
    "Samples by all steps."
    if variance is not None:
        return sample_ddpm(Denoiser(network, schedule, **model), normal(shape, generator), generator, variance=variance)
    return Diffusion(network, schedule, **model).sample(shape[0], generator or seeded(), shape=shape[1:], progress=progress)


def implicit(network, shape, *, schedule, generator=None, n_steps=50, times=None, eta=0.0, start=None, condition=None, scale=1.0, **model):
    "Samples by a few steps."
    return Diffusion(network, schedule, **model).sample(shape[0] if condition is None else condition, generator or seeded(), shape=shape[1:],
                                                        n_steps=n_steps, times=times, eta=eta, start=start, guidance_scale=scale)


def inverted(network, x0, *, schedule, n_steps=50, iterations=0, **model):
    "The noise of samples."
    return Diffusion(network, schedule, **model).invert(x0, n_steps=n_steps, iterations=iterations)


def loss_of(network, x0, *, schedule, generator=None, condition=None, **model):
    "The training loss."
    return Diffusion(network, schedule, **model).loss(x0 if condition is None else (x0, condition), generator or seeded())


def alpha_bar_at(schedule, t):
    return schedule.alpha_bar[(t * schedule.steps).round().long() - 1]


def mixture(schedule, prediction="eps"):
    "The perfect model of independent elements of the mixture, from the derivative of the log-density by autograd."
    def model(x, t, condition=None):
        a = alpha_bar_at(schedule, t).reshape(-1, *[1] * x.ndim)
        v = a * SDS**2 + 1 - a
        with torch.enable_grad():
            y = x.double().requires_grad_()
            log_density = torch.logsumexp(WEIGHTS.log() - (y[..., None] - a.sqrt() * MEANS) ** 2 / (2 * v) - v.log() / 2, dim=-1)
            score, = torch.autograd.grad(log_density.sum(), y)
        a = a[..., 0]
        out = -(1 - a).sqrt() * score if prediction == "eps" else (y.detach() + (1 - a) * score) / a.sqrt()
        return out.to(x.dtype)
    return model


def draw_mixture(shape, generator):
    j = torch.multinomial(WEIGHTS, math.prod(shape), replacement=True, generator=generator).reshape(shape)
    return (MEANS[j] + SDS[j] * torch.randn(shape, generator=generator, dtype=torch.float64)).float()


def scrambled(*args, seed=0, **kwargs):
    "A U-Net in which no weight is zero."
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = UNet(*args, **kwargs)
        for p in net.parameters():
            torch.nn.init.normal_(p, std=0.2)
    return net.eval()


# Schedules

@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 3, 10, 250, 1000, 4000])
def test_schedule_decreases_from_signal_to_noise(name, steps):
    s = make_schedule(name, steps)
    assert s.steps == steps and s.name == name and s.alpha_bar.dtype == torch.float64
    assert s[0] == 1 and (s.alpha_bar > 0).all() and (s.alpha_bar < 1).all() and (s.alpha_bar.diff() < 0).all()
    assert s.alpha_bar[-1] < 0.01 and s.times[-1] == 1
    assert torch.allclose(torch.sigmoid(s.log_snr), s.alpha_bar, rtol=1e-12)


def test_schedules_agree_with_their_formulas():
    beta = np.linspace(1e-4, 0.02, 1000)
    assert np.allclose(linear_schedule(1000).alpha_bar, np.cumprod(1 - beta), rtol=1e-12)
    t = np.arange(1001) / 1000
    f = np.cos((t + 0.008) / 1.008 * np.pi / 2) ** 2
    assert np.allclose(cosine_schedule(1000).alpha_bar[:990], f[1:991] / f[0], rtol=1e-9)  # the last betas are capped
    assert np.allclose(log_snr_schedule(1000).log_snr, -np.log(np.expm1(1e-4 + 10 * t[1:] ** 2)), rtol=1e-9)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_finer_schedule_is_the_same_curve(name):
    coarse, fine = make_schedule(name, 500), make_schedule(name, 2000)
    assert (coarse.alpha_bar - fine.alpha_bar[3::4]).abs().max() < 2e-3


@pytest.mark.parametrize("name", SCHEDULES)
def test_noise_preserves_variance_and_conversions_undo_it(name):
    s, g = make_schedule(name), seeded()
    x0, noise = torch.randn(2, 1000, 20, generator=g, dtype=torch.float64)
    for k in (1, 300, 1000):
        x = add_noise(x0, noise, s[k])
        assert abs(x.var() - 1) < 4 * math.sqrt(2 / x.numel())
        assert torch.allclose(x0_from_eps(x, noise, s[k]), x0, atol=1e-9) and torch.allclose(eps_from_x0(x, x0, s[k]), noise, atol=1e-9)


def test_little_noise_keeps_its_size_in_single_precision():
    a = 1 - 1e-9  # 1 in float32, so 1 - a would vanish there
    noise = torch.randn(10_000, 1, generator=seeded())
    assert torch.allclose(add_noise(torch.zeros(10_000, 1), noise, a), math.sqrt(1e-9) * noise, rtol=1e-5)


# Samplers on known distributions

def check_mixture(x, allowance):
    mean, second = (WEIGHTS * MEANS).sum(), (WEIGHTS * (MEANS**2 + SDS**2)).sum()
    sd = (second - mean**2).sqrt()
    left = x < -0.8  # between the components: 4 and 3.6 standard deviations from either
    n = x.numel()
    assert abs(x.mean() - mean) < 4 * sd / math.sqrt(n) + allowance
    assert abs(x.std() - sd) < 4 * sd / math.sqrt(n) + allowance
    assert abs(left.double().mean() - WEIGHTS[0]) < 4 * math.sqrt(0.21 / n) + allowance / 3
    for part, m, s in ((x[left], MEANS[0], SDS[0]), (x[~left], MEANS[1], SDS[1])):
        assert abs(part.mean() - m) < 4 * s / math.sqrt(len(part)) + allowance
        assert abs(part.std() / s - 1) < 4 / math.sqrt(2 * len(part)) + 0.03


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("prediction", ["eps", "x0"])
@pytest.mark.parametrize("variance", ["posterior", "beta"])
def test_ddpm_draws_the_mixture(name, prediction, variance):
    s = make_schedule(name, 300)
    x = ancestral(mixture(s, prediction), (1000, 2, 3), schedule=s, prediction=prediction, variance=variance, generator=seeded(1))
    check_mixture(x, 0.02)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("prediction", ["eps", "x0"])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_draws_the_mixture(name, prediction, eta):
    s = make_schedule(name, 1000)
    x = implicit(mixture(s, prediction), (1000, 2, 3), schedule=s, prediction=prediction, n_steps=250, eta=eta, generator=seeded(2))
    check_mixture(x, 0.02)


@pytest.mark.parametrize("sampler", [
    lambda *a, **k: ancestral(*a, **k),
    lambda *a, **k: implicit(*a, n_steps=400, **k),
    lambda *a, **k: implicit(*a, times=[(i / 80) ** 1.5 for i in range(1, 81)], **k),
], ids=["ddpm", "ddim", "uneven"])
def test_correlations_between_channels_survive(sampler):
    mean, cov = torch.tensor([1.0, -0.5]), torch.tensor([[1.0, 0.6], [0.6, 0.5]])
    s = cosine_schedule(400)

    def model(x, t, condition=None):
        a = alpha_bar_at(s, t)[0]
        precision = torch.linalg.inv(a * cov.double() + (1 - a) * torch.eye(2))
        return ((1 - a).sqrt() * torch.einsum("ij,bjp->bip", precision, x.double() - a.sqrt() * mean[:, None])).float()

    x = sampler(model, (4000, 2, 3), schedule=s, generator=seeded(3)).transpose(1, 2).reshape(-1, 2)
    assert (x.mean(0) - mean).abs().max() < 0.05
    assert (torch.cov(x.T) - cov).abs().max() < 0.05


def test_beta_variance_is_exact_for_normal_data_at_any_number_of_steps():
    for steps in (2, 5, 20):
        s = linear_schedule(steps)
        model = lambda x, t, c=None: (x * (1 - alpha_bar_at(s, t)).sqrt()[:, None]).float()
        x = ancestral(model, (50_000, 1), schedule=s, variance="beta", generator=seeded())
        assert abs(x.var() - s[1]) < 4 * s[1] * math.sqrt(2 / 50_000)  # the last step leaves its noise out


def test_posterior_variance_is_exact_for_a_point():
    s, point = cosine_schedule(20), torch.tensor([[0.5, -3.0]])
    x = ancestral(lambda x, t, c=None: point.expand_as(x), (10, 2), schedule=s, prediction="x0", generator=seeded())
    assert torch.allclose(x, point.expand(10, 2))


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_eta_is_the_share_of_the_posterior_spread(eta):
    s, seen = Schedule([0.8, 0.3]), []
    model = lambda x, t, c=None: (seen.append(x), torch.zeros_like(x))[1]  # all data are zero
    start = torch.full((50_000, 1), 2.0)
    implicit(model, start.shape, schedule=s, prediction="x0", n_steps=2, eta=eta, start=start, generator=seeded())
    posterior = (1 - 0.8) / (1 - 0.3) * (1 - 0.3 / 0.8)
    spread = eta * math.sqrt(posterior)
    assert abs(seen[1].std() - spread) < 0.01 * spread + 1e-6
    assert abs(seen[1].mean() - math.sqrt(0.2 - spread**2) * 2.0 / math.sqrt(0.7)) < 0.01


def test_ddim_with_eta_one_and_all_steps_is_ddpm():
    s = cosine_schedule(30)
    a = ancestral(mixture(s, "x0"), (500, 1), schedule=s, prediction="x0", generator=seeded(4))
    b = implicit(mixture(s, "x0"), (500, 1), schedule=s, prediction="x0", n_steps=30, eta=1.0, generator=seeded(4))
    assert torch.allclose(a, b, atol=1e-4)


def test_ddim_is_deterministic_and_converges_with_the_steps():
    s = log_snr_schedule(1000)
    start = torch.randn(400, 1, generator=seeded(5))
    runs = {n: implicit(mixture(s), start.shape, schedule=s, n_steps=n, start=start) for n in (25, 50, 100, 1000)}
    assert torch.equal(runs[50], implicit(mixture(s), start.shape, schedule=s, n_steps=50, start=start, generator=seeded(9)))
    errors = [(runs[n] - runs[1000]).abs().mean() for n in (25, 50, 100)]
    assert errors[0] > 1.7 * errors[1] > 1.7**2 * errors[2]
    noisy = [implicit(mixture(s), start.shape, schedule=s, n_steps=50, eta=0.5, start=start, generator=seeded(i)) for i in (1, 1, 2)]
    assert torch.equal(noisy[0], noisy[1]) and not torch.equal(noisy[0], noisy[2])


def test_paths_keep_their_order():
    s, start = cosine_schedule(), torch.linspace(-3, 3, 301)[:, None]
    x = implicit(mixture(s), start.shape, schedule=s, start=start, n_steps=200)
    assert (x.diff(dim=0) > 0).all()  # paths of a differential equation in one dimension never cross


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("prediction", ["eps", "x0"])
def test_inversion_leads_back(name, prediction):
    s, x0 = make_schedule(name), draw_mixture((500, 1), seeded(6))
    model, errors = mixture(s, prediction), {}
    for iterations in (0, 1, 3):
        for n in (25, 50, 100):
            options = dict(schedule=s, prediction=prediction, n_steps=n)
            noise = inverted(model, x0, iterations=iterations, **options)
            errors[iterations, n] = (implicit(model, x0.shape, start=noise, **options) - x0).abs().mean().item()
    assert all(errors[i, 100] < errors[i, 50] < errors[i, 25] for i in (0, 1))
    assert errors[0, 100] < 0.05 and errors[1, 100] < 0.003 and errors[3, 100] < 0.001
    assert abs(noise.mean()) < 0.2 and abs(noise.std() - 1) < 0.1


# Loss

@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("prediction", ["eps", "x0"])
def test_the_perfect_model_minimises_the_loss(name, prediction):
    s = make_schedule(name)
    best, x0 = mixture(s, prediction), draw_mixture((40_000, 1), seeded(7))
    for change in (torch.ones_like, torch.sin, lambda x: x, lambda x: x.square() / 2):
        loss = {h: loss_of(lambda x, t, c=None: best(x, t) + h * change(x), x0, schedule=s, prediction=prediction,
                                  generator=seeded(8)).item() for h in (-0.2, 0.0, 0.2)}
        slope, curvature = (loss[0.2] - loss[-0.2]) / 0.4, (loss[0.2] + loss[-0.2] - 2 * loss[0.0]) / 0.04
        assert min(loss[-0.2], loss[0.2]) > loss[0.0] + 0.005
        assert abs(slope) < 0.1 * curvature  # the minimum lies within 0.05 of the perfect model


def test_loss_of_the_perfect_model_is_what_cannot_be_known():
    s, x0 = cosine_schedule(), torch.randn(100_000, 1, generator=seeded())
    a = lambda t: alpha_bar_at(s, t)[:, None].float()
    eps = loss_of(lambda x, t, c: (1 - a(t)).sqrt() * x, x0, schedule=s, generator=seeded(1))
    clean = loss_of(lambda x, t, c: a(t).sqrt() * x, x0, schedule=s, prediction="x0", generator=seeded(1))
    assert abs(eps - s.alpha_bar.mean()) < 0.015 and abs(clean - (1 - s.alpha_bar.mean())) < 0.015


def test_loss_uses_every_step_and_repeats_with_the_seed():
    s, times = linear_schedule(10), []
    model = lambda x, t, c=None: (times.append(t), torch.zeros_like(x))[1]
    first, again, other = (loss_of(model, torch.ones(2000, 1), schedule=s, generator=seeded(i)) for i in (1, 1, 2))
    counts = torch.histc(torch.cat(times) * 10, 10, 0.5, 10.5)
    assert first == again != other and times[0].dtype == torch.float32
    assert (counts / 6000 - 0.1).abs().max() < 4 * math.sqrt(0.09 / 6000)


def test_self_conditioning_feeds_back_the_last_guess():
    s, seen = cosine_schedule(8), []

    def model(x, t, condition=None):
        assert x.shape[1] == 4
        seen.append(x)
        return x[:, :2] * 0.5

    implicit(model, (3, 2, 4), schedule=s, prediction="x0", n_steps=4, self_conditioning=True, generator=seeded())
    assert seen[0][:, 2:].abs().max() == 0
    assert all(torch.equal(later[:, 2:], earlier[:, :2] * 0.5) for earlier, later in zip(seen, seen[1:]))
    seen.clear()
    calls = []
    for i in range(40):
        loss_of(model, torch.randn(2, 2, 4), schedule=s, prediction="x0", self_conditioning=True, generator=seeded(i))
        calls.append(len(seen))
        if len(seen) == 2:
            assert torch.equal(seen[1][:, 2:], seen[0][:, :2] * 0.5) and not seen[1][:, 2:].requires_grad
        else:
            assert seen[0][:, 2:].abs().max() == 0
        seen.clear()
    assert set(calls) == {1, 2} and 8 < calls.count(2) < 32


# Hooks, guidance, housekeeping

def test_hooks_shape_the_guess():
    s, seen = log_snr_schedule(100), []

    def watch(x0, t):
        x0 = clamp_x0(-1, 1)(x0, t)
        seen.append((t, x0.abs().max().item()))
        return x0

    wild = lambda x, t, c=None: 3 * x
    x = implicit(wild, (20, 1, 4), schedule=s, prediction="x0", n_steps=10, process_x0=watch, generator=seeded())
    assert [t for t, _ in seen] == [k / 10 for k in range(10, 0, -1)] and all(top <= 1 for _, top in seen)
    assert x.abs().max() <= 1
    x = ancestral(wild, (20, 1, 4), schedule=s, prediction="x0", process_x0=sign_below(0.7), generator=seeded())
    assert set(x.flatten().tolist()) == {-1.0, 1.0}
    x = implicit(wild, (20, 1, 4), schedule=s, prediction="x0", process_x0=dynamic_threshold(0.9), generator=seeded())
    assert x.abs().max() <= 1


def test_guidance_is_the_formula_and_calls_no_more_than_needed():
    net, calls = scrambled(1, 1, 1, widths=(8, 8), n_conditions=2), []
    net.register_forward_hook(lambda module, args, out: calls.append(len(args[0])))
    x, t, c = torch.randn(3, 1, 4, generator=seeded()), torch.tensor([0.1, 0.5, 1.0]), torch.tensor([[0.3, -0.2]] * 3)
    with torch.no_grad():
        given, null = net(x, t, c), net(x, t)
        calls.clear()
        for scale, sizes in ((0.0, [3]), (1.0, [3]), (2.5, [6]), (-1.0, [6])):
            out = Denoiser(net, S, condition=c, guidance_scale=scale).output(x, t)
            assert torch.allclose(out, null + scale * (given - null), rtol=1e-4, atol=1e-4)
            assert calls == sizes
            calls.clear()
    assert not torch.allclose(given, null, atol=1e-3)


def test_steering_comes_before_what_is_known_and_holds_to_the_end():
    s, seen = cosine_schedule(20), []
    steer = lambda x0, t: (seen.append(("steer", t)), x0 * 0 + 3.0)[1]
    known = lambda x0, t: (seen.append(("known", x0.max().item())), x0.clamp(-1, 1))[1]
    x = Diffusion(mixture(s), s, process_x0=known, shape=(1,)).sample(5, seeded(), n_steps=4, steer=steer)
    assert seen == [pair for t in (1.0, 0.75, 0.5, 0.25) for pair in (("steer", t), ("known", 3.0))]
    assert torch.equal(x, torch.ones(5, 1))


class Recorder(torch.nn.Module):
    "Returns zeros and keeps the conditions that it was given."

    def __init__(self):
        super().__init__()
        self.weight, self.seen = torch.nn.Parameter(torch.zeros(())), []

    def forward(self, x, t, condition=None):
        self.seen.append(condition)
        return x * 0 + self.weight


def test_conditions_are_dropped_in_training_by_column():
    net = Recorder()
    model = Diffusion(net, S, drop=((0.5, [0, 1]), (0.25, [2])))
    model.loss((torch.zeros(4000, 1), torch.ones(4000, 3)), seeded())
    lost = net.seen[0].isnan().double()
    assert torch.equal(lost[:, 0], lost[:, 1]) and abs(lost[:, 0].mean() - 0.5) < 0.04 and abs(lost[:, 2].mean() - 0.25) < 0.03
    assert abs((lost[:, 0] * lost[:, 2]).mean() - 0.125) < 0.03     # independently


def test_l1_is_the_mean_magnitude():
    zero = lambda x, t, c: torch.zeros_like(x)
    x0 = torch.tensor([[1.0, -3.0]]).expand(10, 2)
    assert loss_of(zero, x0, schedule=S, prediction="x0", loss="l1") == 2 and loss_of(zero, x0, schedule=S, prediction="x0") == 5


def test_a_network_keeps_its_prediction(tmp_path):
    "Trained on the noise and sampled as the clean sample: an error, from the object and from the checkpoint."
    net = scrambled(1, 1, 1, widths=(8, 8))
    model = Diffusion(net, S, shape=(1, 4))
    options = dict(steps=2, batch_size=4, device="cpu", progress=False, checkpoint=tmp_path / "c")
    assert list(fit(model, torch.zeros(8, 1, 4), **options).history[-1]) == ["step", "epoch", "loss_diffusion", "seconds"]
    with pytest.raises(ValueError, match="prediction is 'x0'; allowed: eps, which this network was made for"):
        Diffusion(net, S, prediction="x0")
    other = Diffusion(scrambled(1, 1, 1, widths=(8, 8)), S, prediction="x0", shape=(1, 4))
    with pytest.raises(ValueError, match="another run.*eps"):
        fit(other, torch.zeros(8, 1, 4), **options)


def test_a_space_overrides_what_goes_in_and_comes_out():
    class Doubled(Diffusion):
        def encode(self, batch):
            return batch["x"] * 2

        def conditions(self, batch):
            return batch["c"]

        def decode(self, x):
            return x / 2

    s = cosine_schedule(50)
    perfect = lambda x, t, c: c[:, :1].expand_as(x)             # every sample is its condition
    model = Doubled(perfect, s, prediction="x0", shape=(2,))
    c = torch.tensor([[1.0], [-3.0]])
    assert model.loss({"x": c.expand(2, 2) / 2, "c": c}, seeded()) == 0
    assert torch.allclose(model.sample(c, seeded(), n_steps=10), c.expand(2, 2) / 2)
    assert model.invert({"x": c.expand(2, 2)}, c, n_steps=10).shape == (2, 2)


def test_drop_condition():
    c = torch.arange(6.0).reshape(3, 2)
    assert torch.equal(drop_condition(c, 0.0), c) and drop_condition(c, 1.0).isnan().all() and not c.isnan().any()
    assert drop_condition(c, 1.0, columns=[1]).isnan().tolist() == [[False, True]] * 3
    many = torch.zeros(10_000, 2)
    lost = drop_condition(many, 0.1, generator=seeded()).isnan()
    assert torch.equal(lost, drop_condition(many, 0.1, generator=seeded()).isnan()) and torch.equal(lost[:, 0], lost[:, 1])
    assert abs(lost.double().mean() - 0.1) < 0.012


@pytest.mark.parametrize("call", [
    lambda denoise, x: sample_ddpm(denoise, x, seeded()),
    lambda denoise, x: sample_ddim(denoise, x, step_grid(denoise.schedule, n_steps=4)),
    lambda denoise, x: invert_ddim(denoise, x, step_grid(denoise.schedule, n_steps=4)),
], ids=["ddpm", "ddim", "inversion"])
def test_a_denoiser_begins_anew_with_every_call(call):
    "With self-conditioning the last guess of one call is none for the next, which may have another batch size."
    denoise = Denoiser(scrambled(1, 2, 1, widths=(8, 8)), linear_schedule(8), self_conditioning=True)
    x = torch.randn(3, 1, 4, generator=seeded())
    first = call(denoise, x)
    assert torch.equal(call(denoise, x), first) and call(denoise, x[:2]).shape == (2, 1, 4)


def test_samplers_leave_no_trace(capfd):
    net, s = scrambled(1, 1, 1, widths=(8, 8)), linear_schedule(4)
    before = torch.random.get_rng_state()
    x = ancestral(net, (2, 1, 4), schedule=s, generator=seeded())
    y = implicit(net, (2, 1, 4), schedule=s, n_steps=2, eta=1.0, generator=seeded())
    z = inverted(net, x, schedule=s, n_steps=4)
    assert torch.equal(before, torch.random.get_rng_state())  # all noise came from the generator
    assert not (x.requires_grad or y.requires_grad or z.requires_grad) and torch.is_grad_enabled()
    assert capfd.readouterr().err == ""
    ancestral(net, (2, 1, 4), schedule=s, generator=seeded(), progress=True)
    assert "DDPM" in capfd.readouterr().err


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_samples_live_where_the_model_lives_and_do_not_depend_on_it():
    s, net = cosine_schedule(20), scrambled(2, 1, 1, widths=(8, 8), n_conditions=1).double()
    start, c = torch.randn(2, 1, 4, 4, generator=seeded(), dtype=torch.float64), torch.full((2, 1), 0.5)
    options = dict(schedule=s, n_steps=5, eta=1.0, start=start, condition=c, scale=2.0)
    here = implicit(net, start.shape, generator=seeded(), **options)
    there = implicit(net.cuda(), start.shape, generator=seeded(), **options)
    assert there.is_cuda and torch.allclose(here, there.cpu(), rtol=1e-4)
    loss = loss_of(net, start.cuda(), schedule=s, generator=torch.Generator("cuda").manual_seed(0))
    assert loss.is_cuda and loss.isfinite()


# U-Net

@pytest.mark.parametrize("dims, grid", [(1, (12,)), (2, (6, 12)), (3, (6, 6, 12))])
@pytest.mark.parametrize("strides", [2, 3, 1])
def test_unet_commutes_with_shifts_by_its_stride(dims, grid, strides):
    net = scrambled(dims, 2, 1, widths=(8, 16), strides=strides, attention=(False, True), blocks=2, n_conditions=1).requires_grad_(False)
    x, t, c = torch.randn(2, 2, *grid, generator=seeded()), torch.tensor([0.3, 0.7]), torch.tensor([[0.2], [math.nan]])
    y = net(x, t, c)
    scale = y.abs().max()
    for axis in range(2, 2 + dims):
        assert (net(x.roll(strides, axis), t, c) - y.roll(strides, axis)).abs().max() < 1e-5 * scale
        if strides > 1:
            assert (net(x.roll(1, axis), t, c) - y.roll(1, axis)).abs().max() > 1e-3 * scale


def test_samples_shift_with_their_noise():
    net, s = scrambled(2, 1, 1, widths=(8, 8)), cosine_schedule(20)
    start = torch.randn(2, 1, 6, 6, generator=seeded())
    options = dict(schedule=s, prediction="x0", n_steps=5, process_x0=clamp_x0())
    x, y = (implicit(net, start.shape, start=start.roll(shift, (2, 3)), **options) for shift in ((0, 0), (4, 2)))
    assert torch.allclose(x.roll((4, 2), (2, 3)), y, atol=1e-4)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_every_weight_learns_also_beside_unknown_conditions(precision):
    net = scrambled(2, 1, 1, widths=(8, 16), attention=(True, True), n_conditions=2)
    c = torch.tensor([[0.1, math.nan], [math.nan, 0.4], [0.3, 0.2]])
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
        loss = loss_of(net, torch.randn(3, 1, 4, 4, generator=seeded()), schedule=cosine_schedule(10), condition=c)
    assert loss.dtype == torch.float32
    loss.backward()
    for name, p in net.named_parameters():
        assert p.grad.isfinite().all() and p.grad.abs().max() > 0, name


def test_a_small_unet_learns_a_known_distribution():
    "Waves of random phase on a ring of 8: after a short training the samples are waves, too."
    torch.manual_seed(0)
    s, g = cosine_schedule(50), seeded()
    net = UNet(1, 1, 1, widths=(16, 16))
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    wave = lambda n: torch.cos(2 * math.pi * (torch.arange(8) / 8 + torch.rand(n, 1, 1, generator=g)))
    for _ in range(150):
        optimiser.zero_grad()
        loss_of(net, wave(32), schedule=s, prediction="x0", generator=g).backward()
        optimiser.step()
    x = implicit(net, (200, 1, 8), schedule=s, prediction="x0", n_steps=25, generator=g)
    power = torch.fft.rfft(x[:, 0]).abs().square()
    assert (power[:, 1] / power.sum(1)).median() > 0.9             # one wavelength per ring
    assert abs(x.square().mean() - 0.5) < 0.1                      # of amplitude 1
    phase = torch.angle(torch.fft.rfft(x[:, 0])[:, 1])
    assert torch.exp(1j * phase).mean().abs() < 0.25               # and of any phase


def test_unet_is_rebuilt_from_its_config():
    net = scrambled(3, 2, 1, widths=(8, 8, 16), blocks=2, strides=[[2, 2, 1], 2], padding=("circular", "circular", "zeros"), attention=(0, 0, 1), n_conditions=1)
    twin = UNet(**net.config)
    twin.load_state_dict(net.state_dict())
    x, t = torch.randn(1, 2, 4, 8, 2), torch.tensor([0.5])
    with torch.no_grad():
        assert torch.equal(net(x, t), twin(x, t)) and net.total_stride == (4, 4, 2)


def test_periodic_convolution_agrees_with_torch():
    for dims, Conv in ((1, torch.nn.Conv1d), (2, torch.nn.Conv2d), (3, torch.nn.Conv3d)):
        for stride in (1, 2):
            ours = GridConv(2, 3, padding=["circular"] * dims, stride=[stride] * dims)
            theirs = Conv(2, 3, 3, stride=stride, padding=1, padding_mode="circular")
            theirs.load_state_dict(ours.conv.state_dict())
            x = torch.randn(2, 2, *(4, 6, 2)[:dims], generator=seeded())
            assert torch.allclose(ours(x), theirs(x), atol=1e-6)


# Shipped weights

FIRST_ROWS = {20: [-0.3242, 0.3760, -0.5496, 0.4743, -0.5869, 0.5993], 60: [0.053, 0.2833, -0.6541, 0.6621, -0.6797, 0.6182], 90: [0.4555, 0.0788, -0.6777, 1.006, -0.6117, 1.3502]}


@pytest.mark.parametrize("beta_max", FIRST_ROWS)
def test_shipped_weights_keep_their_answers(beta_max):
    "The first row of cuts of a sample, as it was drawn when the weights came into the package."
    from metanb.core.weights import from_pretrained

    model = from_pretrained(f"kirigami/ddpm_{beta_max}")
    with torch.no_grad():
        x = model.sample(4, seeded(5), n_steps=20)
    assert np.allclose(x[0, 0, 0], FIRST_ROWS[beta_max], atol=2e-3)


# Bad input

NAN = torch.tensor([[0.0], [math.nan]])
NOISE = lambda x, t, c=None: x
S = linear_schedule(10)


@pytest.mark.parametrize("call, words", [
    (lambda: make_schedule("sine"), ["name", "'sine'", "linear, cosine, log_snr"]),
    (lambda: linear_schedule(0), ["steps", "0"]),
    (lambda: cosine_schedule(-5), ["steps", "-5"]),
    (lambda: log_snr_schedule(2.5), ["steps", "2.5"]),
    (lambda: make_schedule("linear", True), ["steps", "True"]),
    (lambda: cosine_schedule(10, offset=math.nan), ["offset", "nan"]),
    (lambda: Schedule([]), ["alpha_bar"]),
    (lambda: Schedule([0.5, 0.5]), ["alpha_bar", "decreasing"]),
    (lambda: Schedule([0.5, math.nan]), ["alpha_bar", "nan"]),
    (lambda: Schedule([1.5, 0.5]), ["alpha_bar", "(0, 1)"]),
    (lambda: loss_of(NOISE, NAN, schedule=S), ["x0", "1 values", "NaN"]),
    (lambda: loss_of(NOISE, torch.zeros(0, 1), schedule=S), ["x0", "(0, 1)"]),
    (lambda: loss_of(NOISE, torch.zeros(2, 1, dtype=torch.long), schedule=S), ["x0", "int64"]),
    (lambda: loss_of(NOISE, torch.zeros(2, 1), schedule=S, prediction="v"), ["prediction", "'v'", "eps, x0"]),
    (lambda: loss_of(lambda x, t, c: x[:, :1], torch.zeros(2, 3), schedule=S), ["network", "(2, 1)", "(2, 3)"]),
    (lambda: ancestral(lambda x, t, c: x[:1], (2, 3), schedule=S), ["network", "(1, 3)", "(2, 3)"]),
    (lambda: ancestral(NOISE, (2, 1), schedule=S, variance="large"), ["variance", "'large'"]),
    (lambda: ancestral(NOISE, (0, 1), schedule=S), ["n is 0", "at least 1"]),
    (lambda: ancestral(NOISE, (2, 0), schedule=S), ["shape[0]", "0"]),
    (lambda: ancestral(NOISE, (2,), schedule=S), ["shape", "(C, *grid)"]),
    (lambda: implicit(NOISE, (2, 1), schedule=S, n_steps=11), ["n_steps", "11", "10"]),
    (lambda: implicit(NOISE, (2, 1), schedule=S, n_steps=0), ["n_steps", "0"]),
    (lambda: implicit(NOISE, (2, 1), schedule=S, n_steps=5, eta=1.5), ["eta", "1.5"]),
    (lambda: implicit(NOISE, (2, 1), schedule=S, n_steps=5, eta=math.nan), ["eta", "nan"]),
    (lambda: implicit(NOISE, (2, 1), schedule=S, n_steps=5, start=torch.zeros(2, 2)), ["start", "(2, 2)", "(2, 1)"]),
    (lambda: implicit(NOISE, (2, 1), schedule=S, n_steps=5, start=NAN), ["start", "NaN"]),
    (lambda: step_grid(S, times=[0.1, 0.12, 1.0]), ["times", "0.12"]),
    (lambda: step_grid(S, times=[0.0, 1.0]), ["times", "(0, 1]"]),
    (lambda: step_grid(S, times=[0.5]), ["times", "the last 1"]),
    (lambda: step_grid(S, times=[math.nan, 1.0]), ["times", "nan"]),
    (lambda: step_grid(S, times=[]), ["times"]),
    (lambda: inverted(NOISE, NAN, schedule=S, n_steps=5), ["x0", "NaN"]),
    (lambda: inverted(NOISE, torch.zeros(2, 1), schedule=S, n_steps=5, iterations=-1), ["iterations", "-1"]),
    (lambda: Denoiser(NOISE, S, condition=torch.zeros(2, 1), guidance_scale=math.inf), ["guidance_scale", "inf"]),
    (lambda: Denoiser(NOISE, S, condition=torch.zeros(2)), ["condition", "(2,)"]),
    (lambda: Diffusion(NOISE, S, loss="huber"), ["loss", "'huber'", "mse, l1"]),
    (lambda: diffusion_loss(Denoiser(NOISE, S), torch.zeros(2, 1), seeded(), loss="huber"), ["loss is 'huber'", "mse, l1"]),
    (lambda: loss_of(NOISE, torch.zeros(2, 1), schedule=S, drop=[(0.5, None)]), ["conditions of the batch is None", "(B, n_conditions)"]),
    (lambda: drop_condition(torch.zeros(2, 1), 1.1), ["probability", "1.1"]),
    (lambda: clamp_x0(1.0, -1.0), ["low", "high"]),
    (lambda: dynamic_threshold(0.0), ["quantile", "0.0"]),
    (lambda: UNet(2, 0, 1), ["channels_in", "0"]),
    (lambda: UNet(2, 1, 1, widths=()), ["widths"]),
    (lambda: UNet(2, 1, 1, widths=(32.0,)), ["widths", "32.0"]),
    (lambda: UNet(2, 1, 1, blocks=0), ["blocks", "0"]),
    (lambda: UNet(2, 1, 1, n_conditions=-1), ["n_conditions", "-1"]),
    (lambda: UNet(2, 1, 1, strides=2.5), ["strides", "2.5"]),
    (lambda: UNet(2, 1, 1, strides=[[2, 2, 2]]), ["strides", "[2, 2, 2]", "one per axis"]),
    (lambda: UNet(2, 1, 1, padding=["circular"]), ["padding", "2 of them"]),
    (lambda: UNet(2, 1, 1, widths=(8, 8, 8))(torch.zeros(1, 1, 4, 6), torch.ones(1)), ["grid of x is (4, 6)", "(4, 4)"]),
    (lambda: UNet(1, 1, 1, n_conditions=0)(torch.zeros(1, 1, 4), torch.ones(1), torch.zeros(1, 1)), ["condition", "(1, 1)", "(1, 0)"]),
])
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError) as error:
        call()
    assert all(word in str(error.value) for word in words), error.value
