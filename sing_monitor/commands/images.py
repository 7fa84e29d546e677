"""Images of a command line: a folder of classes, or a function of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sing_monitor.commands.loading import load_callable

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.data import DataLoader


class Images:
    """Images of the option ``--data``, with a loader for one model after the other.

    Args:
        text: ``module:function`` that returns a DataLoader or a Dataset, or a folder with one
            folder of images for each class, which then gets the model's own timm transform.
        batch_size: of loaders that this class builds.
        workers: number of their processes.
        pixel_stats: ``(mean, std)`` with which a folder's images are normalized in place of the
            model's own; each one number or one for each channel.

    Raises:
        ValueError: if there is no such function and no such folder.
    """

    def __init__(
        self,
        text: str,
        batch_size: int,
        workers: int,
        pixel_stats: tuple[list[float], list[float]] | None = None,
    ) -> None:
        self._options: dict[str, Any] = {"batch_size": batch_size, "num_workers": workers}
        self._stats = dict(zip(("mean", "std"), pixel_stats or (), strict=False))
        self._folder = Path(text).expanduser()
        self._given: Any = None
        if self._folder.is_dir():
            return
        try:
            self._given = load_callable(text)()
        except ValueError as error:
            raise ValueError(
                f"--data: there is no folder {text!r}, and as a function: {error}"
            ) from None

    def loader(self, model: nn.Module) -> DataLoader[Any]:
        """Build a loader of the images, in the form that a model takes.

        Args:
            model: a timm model, if the images come from a folder.

        Raises:
            ValueError: if the model is no timm model, or the folder holds no images.
        """
        from torch.utils.data import DataLoader, Dataset

        # Loaders of other libraries, such as timm's prefetcher, are no DataLoader.
        is_loader = hasattr(self._given, "dataset") and not isinstance(self._given, Dataset)
        if isinstance(self._given, DataLoader) or is_loader:
            loader: DataLoader[Any] = self._given
            return loader
        images = self._given if self._given is not None else self._image_folder(model)
        return DataLoader(images, **self._options)

    def _image_folder(self, model: nn.Module) -> Any:
        from timm.data import create_transform, resolve_data_config
        from torchvision.datasets import ImageFolder

        from sing_monitor.inputs.datasets import pretrained_configs
        from sing_monitor.untrusted.pictures import load_rgb

        config = next(iter(pretrained_configs(model)), None)
        if config is None:
            raise ValueError(
                f"{type(model).__name__} is no timm model, so the transform of its images is "
                "unknown. Give --data module:function that returns a DataLoader."
            )
        wanted = resolve_data_config(self._stats, pretrained_cfg=config)
        try:
            transform = create_transform(**wanted, is_training=False)
            return ImageFolder(str(self._folder), transform, loader=load_rgb)
        except FileNotFoundError as error:
            raise ValueError(
                f"{self._folder} is no folder of classes ({error}). It must hold one folder of "
                "images for each class."
            ) from None
