"""Exact denoisers of Gaussian and mixture priors: the closed-form truth that solvers and guidance are held against."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from skiagraph.diffusion.denoiser import EMPTY, Condition, Prediction
from skiagraph.diffusion.schedule import Schedule, as_time, expand_like
from skiagraph.diffusion.streams import Streams

__all__ = ["GaussianDenoiser", "MixtureDenoiser"]


@dataclass(frozen=True, eq=False)
class GaussianDenoiser:
    """E[x_0 | x_t] for x_0 ~ N(mean, covariance), any shape; diagonal also for complex states.

        x0 = mean + alpha C (alpha^2 C + sigma^2)^-1 (x_t - alpha mean)

    A condition "mean" (B, ...) takes the place of the prior's mean. Every sample is computed by itself, so a batch
    gives the numbers of its samples bit for bit.

    Args:
        schedule: noise schedule.
        mean: broadcastable to the state (B, ...).
        variance: broadcastable to the state, >= 0 (complex states: per real and per imaginary part).
        covariance: (n, n) symmetric, positive semi-definite, over the n numbers of a flattened sample.
    """

    schedule: Schedule
    mean: Tensor
    variance: Tensor | None = None
    covariance: Tensor | None = None
    _spectrum: Tensor = field(init=False, repr=False)
    _basis: Tensor | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if (self.variance is None) == (self.covariance is None):
            raise ValueError("variance, covariance: found both or neither; give exactly one.")
        basis: Tensor | None = None
        if self.covariance is None:
            assert self.variance is not None
            spectrum = self.variance
        else:
            n = self.covariance.shape[-1]
            if self.covariance.shape != (n, n) or not torch.allclose(self.covariance, self.covariance.T):
                raise ValueError(f"covariance: found shape {tuple(self.covariance.shape)}; allowed symmetric (n, n).")
            spectrum, basis = torch.linalg.eigh(self.covariance.double())
            spectrum = torch.where(spectrum.abs() < 1e-12 * spectrum.abs().max(), torch.zeros_like(spectrum), spectrum)
        if bool((spectrum < 0).any()):
            raise ValueError("variance or covariance: found a negative variance; allowed none.")
        object.__setattr__(self, "_spectrum", spectrum)
        object.__setattr__(self, "_basis", basis)

    def __call__(self, x: Tensor, t: Tensor, cond: Condition = EMPTY) -> Prediction:
        """The exact posterior mean of x (B, ...) at times t, () or (B,)."""
        _allow(cond, "mean")
        mean = self._mean(x, cond)
        alpha, sigma = (self._shaped(value, x) for value in self.schedule(as_time(t)))
        spectrum = self._eigenvalues(x)
        total = alpha**2 * spectrum + sigma**2
        gain = torch.where(total > 0, alpha * spectrum / total.clamp(min=1e-300), torch.zeros_like(total))
        centred = self._rotate(x - expand_like(self.schedule(as_time(t))[0], x) * mean)
        return Prediction(mean + self._rotate_back(self._rounded(gain, x) * centred, x))

    def flow(self, x: Tensor, t: Tensor, s: Tensor, cond: Condition = EMPTY) -> Tensor:
        """The exact probability flow from time t to time s, the limit of every deterministic rule."""
        _allow(cond, "mean")
        mean = self._mean(x, cond)
        (alpha_t, sigma_t), (alpha_s, sigma_s) = self.schedule(as_time(t)), self.schedule(as_time(s))
        spectrum = self._eigenvalues(x)
        before = self._shaped(alpha_t, x) ** 2 * spectrum + self._shaped(sigma_t, x) ** 2
        after = self._shaped(alpha_s, x) ** 2 * spectrum + self._shaped(sigma_s, x) ** 2
        centred = self._rotate(x - expand_like(alpha_t, x) * mean)
        moved = self._rotate_back(self._rounded((after / before).sqrt(), x) * centred, x)
        return expand_like(alpha_s, x) * mean + moved

    def log_density(self, x: Tensor, t: Tensor) -> Tensor:
        """log p_t(x) per sample (B,), real states."""
        alpha, sigma = self.schedule(as_time(t))
        total = (self._shaped(alpha, x) ** 2 * self._eigenvalues(x) + self._shaped(sigma, x) ** 2).to(x)
        centred = self._rotate(x - expand_like(alpha, x) * self._mean(x, EMPTY))
        terms = centred**2 / total + torch.log(2 * math.pi * total)
        return -0.5 * terms.expand_as(centred).flatten(1).sum(1)

    def sample(self, streams: Streams, shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> Tensor:
        """Exact draws of x_0, (B, *shape)."""
        noise = streams.normal(*shape, dtype=dtype)
        scaled = self._rounded(self._eigenvalues(noise).sqrt(), noise) * self._flat(noise)
        return self._mean(noise, EMPTY) + self._rotate_back(scaled, noise)

    def posterior(self, matrix: Tensor, measurement: Tensor, noise_variance: float) -> GaussianDenoiser:
        """The exact denoiser of p(x_0 | y), y = matrix x_0 + N(0, noise_variance).

        Args:
            matrix: (k, n) on the flattened sample.
            measurement: y, (k,), or (B, k) for a batch whose samples have their own.
            noise_variance: > 0.
        """
        if not noise_variance > 0:
            raise ValueError(f"noise_variance: found {noise_variance}; allowed a positive number.")
        matrix = matrix.double()
        n = matrix.shape[1]
        prior = self.covariance.double() if self.covariance is not None else self._diagonal(n)
        inner = matrix @ prior @ matrix.T + noise_variance * torch.eye(matrix.shape[0], dtype=torch.float64)
        gain = torch.linalg.solve(inner, matrix @ prior).T
        shape = self.mean.shape if self.mean.numel() == n else (n,)
        mean = self.mean.double().expand(shape).reshape(n)
        shift = ((measurement.double() - (matrix * mean).sum(1))[..., None, :] * gain).sum(-1)
        covariance = prior - gain @ matrix @ prior
        covariance = 0.5 * (covariance + covariance.T)
        return GaussianDenoiser(
            self.schedule, (mean + shift).reshape(*measurement.shape[:-1], *shape), covariance=covariance
        )

    def _diagonal(self, n: int) -> Tensor:
        assert self.variance is not None
        return torch.diag(self.variance.double().expand(self.mean.shape).reshape(-1).expand(n))

    def _mean(self, x: Tensor, cond: Condition) -> Tensor:
        given = cond.get("mean")
        return (self.mean if given is None else given).to(x)

    def _eigenvalues(self, x: Tensor) -> Tensor:
        return self._spectrum.to(device=x.device, dtype=torch.float64)

    def _shaped(self, value: Tensor, x: Tensor) -> Tensor:
        """A coefficient (), or (B,), in float64, against eigenvalues of the state's or the flattened state's shape."""
        dims = 1 if self._basis is not None else x.dim() - 1
        return value.to(x.device) if value.dim() == 0 else value.to(x.device).reshape(-1, *[1] * dims)

    def _rounded(self, value: Tensor, x: Tensor) -> Tensor:
        return value.to(x.dtype.to_real())

    def _flat(self, x: Tensor) -> Tensor:
        return x if self._basis is None else x.flatten(1)

    def _rotate(self, x: Tensor) -> Tensor:
        """Into the eigenbasis. A product and a sum per sample: matrix products round differently in larger batches."""
        if self._basis is None:
            return x
        return (x.flatten(1)[:, None, :] * self._basis.T.to(x)).sum(-1)

    def _rotate_back(self, z: Tensor, x: Tensor) -> Tensor:
        if self._basis is None:
            return z
        return (z[:, None, :] * self._basis.to(x)).sum(-1).reshape(x.shape)


@dataclass(frozen=True, eq=False)
class MixtureDenoiser:
    """E[x_0 | x_t] for a mixture of isotropic Gaussians, with classes: also the exact noisy classifier.

    The condition "label" (B,) restricts the mixture to the components of a class; None or no condition is all of them.

    Args:
        schedule: noise schedule.
        weights: (K,) > 0; normalised to sum 1.
        means: (K, ...), one sample's shape after the first axis.
        variances: (K,) > 0.
        labels: (K,) int64 class 0, 1, ... of each component; default all 0.
    """

    schedule: Schedule
    weights: Tensor
    means: Tensor
    variances: Tensor
    labels: Tensor | None = None

    def __post_init__(self) -> None:
        count = self.means.shape[0]
        for name in ("weights", "variances"):
            value = getattr(self, name)
            if value.shape != (count,) or not bool((value > 0).all()):
                raise ValueError(f"{name}: found {value.tolist()} for {count} means; allowed {count} positive numbers.")
        if self.labels is not None and (self.labels.shape != (count,) or self.labels.dtype != torch.int64):
            raise ValueError(f"labels: found {self.labels}; allowed int64 of shape ({count},).")

    def __call__(self, x: Tensor, t: Tensor, cond: Condition = EMPTY) -> Prediction:
        """The exact posterior mean of x (B, ...) at times t, () or (B,)."""
        _allow(cond, "label")
        alpha, sigma = (_column(value, x) for value in self.schedule(as_time(t)))
        share = torch.softmax(self._joint(x, t) + self._selection(x, cond.get("label")), dim=1).to(x)
        variances = self.variances.to(x.device, torch.float64)
        gain = (alpha * variances / (alpha**2 * variances + sigma**2)).to(x)[..., None]
        means = self.means.to(x).flatten(1)
        parts = means + gain * (x.flatten(1)[:, None, :] - alpha.to(x)[..., None] * means)
        return Prediction((share[..., None] * parts).sum(1).reshape(x.shape))

    def log_density(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """log p_t(x), or log p_t(x | label), per sample (B,)."""
        selection = self._selection(x, label)
        prior = torch.logsumexp(self._log_weights(x) + selection, dim=1)
        return torch.logsumexp(self._joint(x, t) + selection, dim=1) - prior

    def logits(self, x: Tensor, t: Tensor) -> Tensor:
        """log p_t(x, y) for every class y, (B, classes): a perfectly calibrated noisy classifier's logits."""
        classes = int(self._classes(x).max()) + 1
        joint = self._joint(x, t)
        columns = [
            torch.logsumexp(joint + self._selection(x, torch.full((x.shape[0],), k, device=x.device)), dim=1)
            for k in range(classes)
        ]
        return torch.stack(columns, dim=1)

    def _joint(self, x: Tensor, t: Tensor) -> Tensor:
        """log w_k + log p_t(x | k), (B, K)."""
        alpha, sigma = (_column(value, x).to(x) for value in self.schedule(as_time(t)))
        total = alpha**2 * self.variances.to(x) + sigma**2
        means = self.means.to(x).flatten(1)
        squared = (x.flatten(1)[:, None, :] - alpha[..., None] * means).square().sum(-1)
        return self._log_weights(x) - 0.5 * squared / total - 0.5 * means.shape[1] * torch.log(2 * math.pi * total)

    def _log_weights(self, x: Tensor) -> Tensor:
        return torch.log(self.weights / self.weights.sum()).to(x)

    def _classes(self, x: Tensor) -> Tensor:
        zeros = torch.zeros(self.means.shape[0], dtype=torch.int64)
        return (zeros if self.labels is None else self.labels).to(x.device)

    def _selection(self, x: Tensor, label: Tensor | None) -> Tensor:
        """0 for components of the class and -inf for others, (B or 1, K)."""
        if label is None:
            return torch.zeros(1, self.means.shape[0], dtype=x.dtype, device=x.device)
        chosen = self._classes(x) == label.to(x.device)[:, None]
        if not bool(chosen.any(1).all()):
            raise ValueError(f"label: found {label.tolist()}; allowed {sorted(set(self._classes(x).tolist()))}.")
        return torch.zeros_like(chosen, dtype=x.dtype).masked_fill(~chosen, -math.inf)


def _column(value: Tensor, x: Tensor) -> Tensor:
    """A coefficient as (1, 1) or (B, 1), float64, on x's device."""
    return value.to(x.device).reshape(-1, 1)


def _allow(cond: Condition, name: str) -> None:
    unknown = sorted(set(cond) - {name})
    if unknown:
        raise ValueError(f"cond: found unknown condition {', '.join(unknown)}; allowed {name!r}.")
