"""``python -m sing_monitor``: the console command, where its folder is not on the path."""

import sys

from sing_monitor.commands.cli import main

if __name__ == "__main__":
    sys.exit(main(name="python -m sing_monitor"))
