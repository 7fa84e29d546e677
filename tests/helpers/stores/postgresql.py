"""A PostgreSQL of the test's own, which needs no service, no port and no password."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Debian keeps the programs of each version apart, and off the path.
_DEBIAN = Path("/usr/lib/postgresql")
_OWNER = "postgres"


def find_programs() -> Path | None:
    """The folder of ``initdb`` and ``pg_ctl``, of the newest version; None without PostgreSQL."""
    found = [path.parent for path in _DEBIAN.glob("*/bin/initdb")]
    if found:
        return max(found, key=lambda folder: int(folder.parent.name))
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


@contextmanager
def database(programs: Path) -> Iterator[str]:
    """Address of an empty database that lives until the block ends.

    PostgreSQL refuses to run as root, who starts it as the user that Debian's package makes.

    Args:
        programs: the folder of ``initdb`` and ``pg_ctl``.
    """
    # Not pytest's folder: others may not enter it, and the name of a socket has 107 bytes at most.
    folder = Path(tempfile.mkdtemp(prefix="sing-postgresql-"))
    owner = _OWNER if os.geteuid() == 0 else None
    if owner:
        shutil.chown(folder, owner, owner)
        folder.chmod(0o755)

    def run(program: str, *arguments: str) -> None:
        command = [programs / program, "--pgdata", str(folder / "data"), *arguments]
        subprocess.run(
            command, cwd=folder, user=owner, group=owner, check=True, stdout=subprocess.DEVNULL
        )

    # Nothing in it outlives the test, so it never waits for the disk.
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    try:
        run("initdb", "--no-sync", "--auth=trust", "--username=mlflow", "--encoding=UTF8")
        run("pg_ctl", "start", "--wait", f"--log={folder / 'log'}", f"--options={options}")
        try:
            yield f"postgresql://mlflow@/postgres?host={folder}"
        finally:
            run("pg_ctl", "stop", "--mode=immediate")
    finally:
        shutil.rmtree(folder)
