"""The quickstart's two models out of one file, with Hydra's multirun.

    python examples/hydra_train.py --multirun data.shortcut=0,0.95

Hydra runs the jobs of a multirun one after the other in one process. Each makes its own Trainer,
logger and callback of the file, so that each is a run of its own. About two minutes.
"""

from __future__ import annotations

from pathlib import Path

import hydra
import lightning as L
from hydra.utils import instantiate
from omegaconf import DictConfig
from quickstart import keep_quiet, table

CONFIGS = Path(__file__).parent / "configs" / "hydra"


def train(config: DictConfig) -> str:
    """One training out of a configuration; its MLflow run."""
    L.seed_everything(config.seed, verbose=False)
    logger = instantiate(config.logger)
    trainer = instantiate(
        config.trainer, logger=logger, callbacks=[*instantiate(config.callbacks).values()]
    )
    trainer.fit(instantiate(config.model), datamodule=instantiate(config.data))
    return str(logger.run_id)


@hydra.main(version_base=None, config_path=str(CONFIGS), config_name="train")
def main(config: DictConfig) -> None:
    """One job: train, and print the quickstart's table."""
    keep_quiet()
    print(f"\n{table({config.logger.run_name: train(config)})}\n")


if __name__ == "__main__":
    main()
