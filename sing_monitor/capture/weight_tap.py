"""Weight tap: reads a sample of a network's weights at each validation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from sing_monitor.head.linear_layers import is_inside, is_leaf, walk_modules
from sing_monitor.weights.sample import WeightSample
from sing_monitor.weights.trajectory import Trajectory

COLUMNS = 20  # validations that are kept: those of the window of the analysis


class WeightTap:
    """Reads a sample of the weights of the first process, and keeps those of 20 validations.

    Buffers are left out: running variances are large beside weights, and differ between processes.
    Of sharded parameters the process's own part is read, so nothing is gathered. What is read stays
    on the model's device until the validation ends, so nothing waits.

    Args:
        count: of the weights; 0: none.
    """

    def __init__(self, count: int) -> None:
        self.is_sharded = False
        self._count = count
        self._sample: WeightSample | None = None
        self._places: dict[torch.device, dict[tuple[str, torch.Size], tuple[Tensor, ...]]] = {}
        self._read: list[Tensor] | None = None

    @property
    def is_open(self) -> bool:
        """Whether the weights of this validation are still to be read."""
        return self._count > 0 and self._read is None

    def start_pass(self) -> None:
        """Forget what was read in the last validation."""
        self._read = None

    def close(self) -> None:
        """Read nothing more."""
        self._count, self._read = 0, None

    def read(self, model: nn.Module, head: str) -> None:
        """Read the weights as they are now.

        Args:
            model: the model under watch.
            head: dotted name of its head.

        Raises:
            ValueError: if this process holds none.
        """
        parameters = dict(self._parameters(model, head))
        sizes = {name: parameter.numel() for name, parameter in parameters.items()}
        if not sizes:
            raise ValueError(
                "the process holds no weight that can be read without gathering it from others."
            )
        network = WeightSample.network_of(sizes, head, self._count)
        if self._sample is None or self._sample.network != network:
            self._sample, self._places = WeightSample.of(sizes, head, self._count), {}
        self._read = [
            # A view with an axis more: a scalar has no coordinates.
            parameters[name].unsqueeze(-1)[self._place(name, rows, parameters[name])]
            for name, rows in self._sample.picked.items()
        ]

    def _parameters(self, model: nn.Module, head: str) -> Iterator[tuple[str, Tensor]]:
        named = [
            each
            for path, module in walk_modules(model)
            for each in module.named_parameters(path, recurse=is_leaf(module))
        ]
        # What the head shares with another layer is the head's.
        names = {id(parameter): name for name, parameter in reversed(named)}
        names |= {id(weight): name for name, weight in named if is_inside(name, [head])}
        for name, parameter in named:
            is_other = name != names[id(parameter)] or is_lazy(parameter)
            if is_other or not parameter.is_floating_point():
                continue
            own = parameter.detach()
            if hasattr(own, "to_local"):
                self.is_sharded = True
                own = own.to_local()
            if own.numel():
                yield name, own

    def _place(self, name: str, rows: Tensor, parameter: Tensor) -> tuple[Tensor, ...]:
        """Coordinates of the rows, on the parameter's device; flattening might copy all of it."""
        places = self._places.setdefault(parameter.device, {})
        # Another layer of the same name may hold as many numbers in another shape.
        key = name, parameter.shape
        if key not in places:
            places[key] = torch.unravel_index(rows.to(parameter.device), (*parameter.shape, 1))
        return places[key]

    def finish(
        self, kept: Mapping[str, Any] | None, epoch: int, step: int
    ) -> dict[str, Any] | None:
        """End a validation: what was kept, with the weights of this one.

        Validations of a later or the same step are replaced; so a training that was taken up again
        gives the same. Weights of another network are dropped.

        Args:
            kept: after the last validation, or None.
            epoch: of the validation.
            step: of the optimizer.

        Returns:
            For a checkpoint: ``network``, a fingerprint; ``places``, (T, 2) int64, epochs and
            steps; ``values``, (T, N) float32; T <= 20. What was kept, if nothing was read now.
        """
        read, self._read = self._read, None
        if read is None or self._sample is None:
            return None if kept is None else dict(kept)
        column = torch.cat([each.float().cpu() for each in read])[None]
        place = torch.tensor([[epoch, step]])
        if kept is not None and kept["network"] == self._sample.network:
            places = kept["places"]
            earlier = [(int(e), int(s)) < (epoch, step) for e, s in places.tolist()]
            place = torch.cat([places[earlier], place])
            column = torch.cat([kept["values"][earlier], column])
        return {
            "network": self._sample.network,
            "places": place[-COLUMNS:].clone(),
            "values": column[-COLUMNS:].clone(),
        }

    def trajectory(self, kept: Mapping[str, Any] | None) -> Trajectory | None:
        """The trajectory of what is kept; None where it is of another network, or of none."""
        sample = self._sample
        if kept is None or sample is None or kept["network"] != sample.network:
            return None
        values = kept["values"].T.contiguous()
        epochs = kept["places"][:, 0].clone()
        return Trajectory(epochs, values, sample.layers, sample.layer_index, sample.is_head)
