"""The one training loop: time is images seen, draws belong to images, and a restart equals no interruption."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from skiagraph.diffusion.streams import Streams
from skiagraph.errors import DataError, InputError
from skiagraph.training.checkpoint import (
    Checkpoint,
    latest_checkpoint,
    optimiser_tensors,
    restore_network,
    restore_optimiser,
    save_checkpoint,
)
from skiagraph.training.ema import Average, ExponentialAverage, PowerAverage, named_state
from skiagraph.training.feed import Feed, to_device
from skiagraph.training.interface import (
    IndexedData,
    Objective,
    ObjectiveResult,
    Progress,
    StreamFactory,
    TrainingDiverged,
    TrainingResult,
)
from skiagraph.training.metrics import MetricsFile, Tally, peak_memory_gib
from skiagraph.training.order import DataOrder, derive_seed, item_seeds, seed_global
from skiagraph.training.precision import NetworkPrecision, resolve_precision
from skiagraph.training.processes import barrier, gather_items, process_count, process_rank, share_of, spread
from skiagraph.training.settings import TrainingSettings
from skiagraph.training.snapshots import save_snapshot

__all__ = ["train"]


def train(
    network: nn.Module,
    objective: Objective,
    data: IndexedData,
    settings: TrainingSettings,
    folder: Path,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    streams: StreamFactory | None = None,
) -> TrainingResult:
    """Train a network, or continue the run found in `folder` as if it had not been interrupted.

    Under torchrun (inside `process_group`) every process calls this with the same arguments; process 0 writes.

    Args:
        network: the network on its device, float32; trained in place.
        objective: per-item loss; it calls the (possibly wrapped) network it is given.
        data: the training items.
        settings: durations in images seen, optimiser, averages, intervals.
        folder: the run's folder: `metrics.jsonl`, `checkpoints/`, `snapshots/`.
        on_progress: called after every step on process 0.
        streams: maker of random streams; None uses `skiagraph.diffusion.streams.Streams` on the network's device.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _surroundings(settings, next(network.parameters()).device):
        run = _Run(network, objective, data, settings, folder, streams or Streams)
        run.resume()
        try:
            while run.images < settings.images:
                progress = run.step()
                if on_progress is not None and process_rank() == 0:
                    on_progress(progress)
        finally:
            run.feed.close()
        return run.result()


@contextmanager
def _surroundings(settings: TrainingSettings, device: torch.device) -> Iterator[None]:
    """Set the number of threads, and leave it and the global random state as they were found."""
    threads = torch.get_num_threads()
    devices = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        try:
            if settings.threads is not None:
                torch.set_num_threads(settings.threads)
            yield
        finally:
            torch.set_num_threads(threads)


class _Run:
    """The state of a run between two steps, and what a step does to it."""

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        data: IndexedData,
        settings: TrainingSettings,
        folder: Path,
        streams: StreamFactory,
    ) -> None:
        self.network, self.objective, self.data, self.settings = network.train(), objective, data, settings
        self.folder, self.streams = folder, streams
        self.device = next(network.parameters()).device
        self.order = DataOrder(settings.seed, len(data))
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.optimiser = torch.optim.AdamW(
            self.parameters,
            lr=settings.learning_rate,
            betas=settings.betas,
            eps=settings.epsilon,
            weight_decay=settings.weight_decay,
            fused=self.device.type in ("cpu", "cuda"),
        )
        self.values = named_state(network)
        self.averages: list[Average] = [PowerAverage(self.values, length) for length in settings.ema_lengths]
        if settings.ema_half_life is not None:
            self.averages.append(ExponentialAverage(self.values, settings.ema_half_life, settings.ema_ramp))
        self.feed = Feed(self._fetch, ahead=settings.prefetch)
        self.tally = Tally(settings.level_edges)
        self.metrics = MetricsFile(folder / "metrics.jsonl")
        self.images, self.saved, self.seconds, self.skipped, self.streak = 0, 0, 0.0, 0, 0
        self.last: dict[str, Any] = {}
        self.wrapped = NetworkPrecision(network, resolve_precision(settings.precision, self.device))

    def step(self) -> Progress:
        """See one batch; log, snapshot and save where an interval ends."""
        started, before = time.perf_counter(), self.images
        positions = range(before, before + self.settings.batch_size)
        values = self._gradients(positions)
        norm = self._update(values, len(positions))
        self.images += len(positions)
        for average in self.averages:
            average.update(self.values, self.images, len(positions))
        self.seconds += time.perf_counter() - started
        loss = sum(values["loss"]) / len(positions) if norm is not None else math.nan
        try:
            self._intervals(before)
        except DataError as error:
            stopped = f"Training stopped at {self.images} images seen; make room and give the same command again"
            raise DataError(f"{error}. {stopped}: it continues at {self.saved}.") from error
        return Progress(self.images, self.settings.images, loss, self.seconds)

    def _gradients(self, positions: range) -> dict[str, list[float]]:
        """Accumulate the gradient of the batch's mean loss and return every item's values, of all processes."""
        parts = self._parts(positions)
        following = self._parts(range(positions.stop, positions.stop + len(positions)))[0]
        seed_global(
            derive_seed("skiagraph-training-step", self.settings.seed, positions[0], process_rank()), self.device
        )
        self.optimiser.zero_grad(set_to_none=True)
        rows = []
        for number, part in enumerate(parts):
            with self._synchronise(number == len(parts) - 1):
                batch = self.feed.take(part, [*parts, following][number + 1])
                result = self._objective(batch, part)
                (result.loss.sum() * (process_count() / len(positions))).backward()  # type: ignore[no-untyped-call]
            named = {"loss": result.loss, "level": result.level, **dict(sorted(result.extra.items()))}
            rows.append(torch.stack([value.detach().to(self.device, torch.float64) for value in named.values()]))
        gathered = gather_items(torch.cat(rows, dim=1), len(positions)).tolist()
        return dict(zip(named, gathered, strict=True))

    def _parts(self, positions: range) -> list[range]:
        """Cut this process's share of a batch into microbatches."""
        own = share_of(positions)
        size = self.settings.microbatch or len(own)
        return [own[start : start + size] for start in range(0, len(own), size)]

    def _fetch(self, positions: range) -> Any:
        return self.data.batch(self.order.indices(positions))

    def _objective(self, batch: Any, positions: range) -> ObjectiveResult:
        streams = self.streams(item_seeds(self.settings.seed, positions), self.device)
        result = self.objective(self.wrapped, to_device(batch, self.device), streams)
        for name, value in {"loss": result.loss, "level": result.level, **result.extra}.items():
            if value.shape != (len(positions),):
                raise InputError(
                    f"objective: {name} has shape {tuple(value.shape)}, allowed: one value per item, "
                    f"({len(positions)},); do not reduce over the batch."
                )
        return result

    def _synchronise(self, last: bool) -> AbstractContextManager[Any]:
        wrapper = self.wrapped.network
        if last or not isinstance(wrapper, DistributedDataParallel):
            return nullcontext()
        return wrapper.no_sync()

    def _update(self, values: Mapping[str, list[float]], count: int) -> float | None:
        """Clip and take the optimiser's step; return the gradient norm, or None where the step was skipped."""
        limit = math.inf if self.settings.clip is None else self.settings.clip
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, limit))
        wrong = [number for number, loss in enumerate(values["loss"]) if not math.isfinite(loss)]
        if wrong or not math.isfinite(norm):
            self._skip(wrong)
            return None
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.learning_rate_at(self.images + count)
        self.optimiser.step()
        self.streak = 0
        self.tally.add_items(values)
        self.tally.add_step(norm, norm > limit)
        return norm

    def _skip(self, wrong: Sequence[int]) -> None:
        self.skipped += 1
        self.streak += 1
        if self.streak >= self.settings.patience:
            items = self.order.indices([self.images + number for number in wrong]).tolist() if wrong else []
            what = f"loss not finite for data items {items[:8]}" if wrong else "gradient not finite"
            raise TrainingDiverged(
                f"training: {self.streak} steps in a row had to be skipped at {self.images} images seen ({what}); "
                "look at these items, lower learning_rate, or set precision to float32. The last checkpoint is intact."
            )

    def _intervals(self, before: int) -> None:
        done = self.images >= self.settings.images
        if done or self._crossed(self.settings.log_every, before):
            self._log()
        if self.settings.snapshot_every and (done or self._crossed(self.settings.snapshot_every, before)):
            self._snapshot()
        if done or self._crossed(self.settings.checkpoint_every, before):
            self.save()

    def _crossed(self, every: int, before: int) -> bool:
        return self.images // every > before // every

    def _log(self) -> None:
        line = {"images": self.images, "seconds": round(self.seconds, 3), **self.tally.means()}
        line |= {"learning_rate": self.settings.learning_rate_at(self.images), "skipped": self.skipped}
        line["memory_gib"] = round(peak_memory_gib(self.device), 3)
        self.tally = Tally(self.settings.level_edges)
        self.last = line
        if process_rank() == 0:
            self.metrics.append(line)

    def _snapshot(self) -> None:
        for average in self.averages:
            if isinstance(average, PowerAverage) and process_rank() == 0:
                save_snapshot(self.folder / "snapshots", average, self.images)

    def save(self) -> None:
        """Write a checkpoint; every process waits for it."""
        if process_rank() == 0:
            tensors = {f"network/{name}": value for name, value in self.values.items()}
            tensors |= {f"optimiser/{name}": v for name, v in optimiser_tensors(self.network, self.optimiser).items()}
            for average in self.averages:
                tensors |= {f"average/{average.name}/{name}": value for name, value in average.values.items()}
            state = {
                "settings": self.settings.trajectory(),
                "items": len(self.data),
                "seconds": self.seconds,
                "skipped": self.skipped,
                "streak": self.streak,
                "tally": self.tally.state(),
                "last": self.last,
                "metrics_bytes": self.metrics.sync(),
            }
            save_checkpoint(self.folder / "checkpoints", Checkpoint(self.images, tensors, state))
        self.saved = self.images
        barrier()

    def resume(self) -> None:
        """Go on from the newest checkpoint, or start with an empty log where there is none."""
        found = latest_checkpoint(self.folder / "checkpoints")
        if found is not None:
            self._check_same_run(found)
            restore_network(self.values, found.tensors, "network/")
            restore_optimiser(self.network, self.optimiser, found.tensors, "optimiser/")
            for average in self.averages:
                restore_network(average.values, found.tensors, f"average/{average.name}/")
            self.images, self.saved, self.seconds = found.images, found.images, found.state["seconds"]
            self.skipped, self.streak, self.last = (found.state[name] for name in ("skipped", "streak", "last"))
            self.tally.restore(found.state["tally"])
        if process_rank() == 0:
            self.metrics.rewind(found.state["metrics_bytes"] if found is not None else 0)
        barrier()
        self.wrapped.network = spread(self.network)

    def _check_same_run(self, found: Checkpoint) -> None:
        saved = {**found.state["settings"], "items": found.state["items"]}
        wanted = {**self.settings.trajectory(), "items": len(self.data)}
        names = sorted(name for name in saved.keys() | wanted.keys() if saved.get(name) != wanted.get(name))
        if names:
            pairs = ((name, wanted.get(name), saved.get(name)) for name in names)
            changes = "; ".join(f"{name}: found {mine!r}, the run has {theirs!r}" for name, mine, theirs in pairs)
            raise InputError(f"{self.folder}: holds another run ({changes}); use another folder, or its settings.")

    def result(self) -> TrainingResult:
        """Return the finished run."""
        values = {average.name: average.values for average in self.averages}
        return TrainingResult(self.network, values, self.images, self.seconds, self.skipped, self.last)
