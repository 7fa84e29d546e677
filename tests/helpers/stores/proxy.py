"""nginx in front of MLflow and the app, by the configuration that ``examples/team`` has."""

from __future__ import annotations

import os
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha1
from pathlib import Path

SITE = Path(__file__).parents[3] / "examples" / "team" / "nginx.conf"
# Nothing is written where Debian's own nginx writes; workers may enter pytest's folders.
_MAIN = """\
user root;
daemon off;
pid pid;
events {}
http {
    access_log off;
    client_body_temp_path bodies;
    proxy_temp_path       answers;
    fastcgi_temp_path     fastcgi;
    uwsgi_temp_path       uwsgi;
    scgi_temp_path        scgi;
    include site.conf;
}
"""


def find_nginx() -> Path | None:
    """The program, which Debian keeps off the path of users; None without nginx."""
    found = shutil.which("nginx", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
    return Path(found) if found else None


@contextmanager
def proxy(
    nginx: Path, folder: Path, port: int, passwords: Mapping[str, str], *, mlflow: str, app: str
) -> Iterator[Path]:
    """Run nginx at 127.0.0.1 until the block ends; gives the file of its certificate.

    Args:
        nginx: the program.
        folder: that it may write to.
        port: where it listens, with TLS.
        passwords: of those who may log in, by name.
        mlflow: address of MLflow's server, such as ``127.0.0.1:5000``.
        app: that of the app.
    """
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", "key.pem", "-out", "certificate.pem"]
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *names, *files]
    subprocess.run(make, cwd=folder, check=True, stderr=subprocess.DEVNULL)
    hashes = {name: sha1(password.encode()).digest() for name, password in passwords.items()}
    users = [f"{name}:{{SHA}}{b64encode(each).decode()}\n" for name, each in hashes.items()]
    (folder / "users").write_text("".join(users))
    site = SITE.read_text()
    for ours, here in {
        "listen 443": f"listen 127.0.0.1:{port}",
        "/etc/nginx/team": str(folder),
        "mlflow:5000": mlflow,
        "app:8501": app,
    }.items():
        site = site.replace(ours, here)
    (folder / "site.conf").write_text(site)
    (folder / "nginx.conf").write_text(_MAIN)
    command = [nginx, "-p", folder, "-c", "nginx.conf", "-e", "errors.log"]
    # Its workers end with their master by SIGTERM alone.
    with subprocess.Popen(command, cwd=folder) as process:
        try:
            yield folder / "certificate.pem"
        finally:
            process.terminate()
