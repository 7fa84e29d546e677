"""The quickstart's shortcut model out of one file, with LightningCLI.

    python examples/lightning_cli.py fit --config examples/configs/lightning_cli.yaml

The file names the callback and all its options. Each can be overridden on the command line, and the
``config.yaml`` that LightningCLI saves starts the same run again. About a minute.
"""

from __future__ import annotations

from collections.abc import Sequence

from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers import MLFlowLogger
from quickstart import DigitClassifier, keep_quiet, table


def main(arguments: Sequence[str] | None = None) -> LightningCLI:
    """Do what the command line says, and print the quickstart's table."""
    keep_quiet()
    given = None if arguments is None else list(arguments)
    cli = LightningCLI(DigitClassifier, args=given)
    for logger in cli.trainer.loggers:
        if isinstance(logger, MLFlowLogger):
            print(f"\n{table({'shortcut': str(logger.run_id)})}\n")
    return cli


if __name__ == "__main__":
    main()
