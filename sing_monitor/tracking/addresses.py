"""Addresses of stores and texts that name them, without what they hold in secret."""

from __future__ import annotations

import re
from itertools import pairwise
from urllib.parse import parse_qsl, unquote

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+")  # "C" is a drive
_HOST = re.compile(r"[^:@]*(:\d+)?|\[[^\]@]*\](:\d+)?")
_IN_TEXT = re.compile(r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]+://")
_END_OF_WORD = re.compile(r"[\s'\"<>]|[).,;:]+(?=\s|$)")
# A secret of one letter would take that letter out of every word.
_SHORTEST_SECRET = 3


def shown_address(uri: str) -> str:
    """The address of a store without user, password, query and fragment.

    Where it cannot be told whether a part belongs to a password, the part is left out.

    Example::

        >>> shown_address("postgresql://bob:se cr'et@db.example/mlflow?password=x#y")
        'postgresql://db.example/mlflow'
        >>> shown_address("sqlite+pysqlcipher://:secret@/mlflow.db")
        'sqlite+pysqlcipher:///mlflow.db'
        >>> shown_address("sqlite:////home/me@work/mlflow.db")
        'sqlite:////home/me@work/mlflow.db'
        >>> shown_address("runs/")
        'runs/'
    """
    return _split(uri)[0]


def redact(text: str, uri: str | None = None) -> str:
    """The text with the secrets of every address in it left out.

    Args:
        text: that people read.
        uri: of the store that the text is about: it is recognized whatever its password holds.

    Example::

        >>> redact("cannot open 'http://bob:secret@host/a?token=x' now")
        "cannot open 'http://host/a' now"
        >>> redact("no host in http://a b' c@:5000", "http://a b' c@:5000")
        'no host in http://:5000'
    """
    if uri is not None:
        shown, secrets = _split(uri)
        for form in (uri, repr(uri)[1:-1], uri.rstrip("/")):
            text = text.replace(form, shown)
        for secret in sorted(secrets, key=len, reverse=True):
            text = text.replace(secret, "…")
    return "\n".join(map(_without_secrets, text.split("\n")))


def _split(uri: str) -> tuple[str, list[str]]:
    """The address that is shown, and what it holds in secret."""
    scheme, _, rest = uri.partition(":")
    if not _SCHEME.fullmatch(scheme) or not rest:
        return uri, []
    if not rest.startswith("//"):
        place, end = _without_end(rest)
        return f"{scheme}:{place}", _secrets("", end)
    rest = rest[2:]
    if scheme.lower().startswith("sqlite"):
        return _split_sqlite(uri, scheme, rest)
    user, rest = _without_user(rest)
    place, end = _without_end(rest)
    host, slash, path = place.partition("/")
    # What is no port is what somebody wrote where a password belongs.
    host = host if _HOST.fullmatch(host) else host.partition(":")[0]
    return f"{scheme}://{host}{slash}{path}", _secrets(user, end)


def _split_sqlite(uri: str, scheme: str, rest: str) -> tuple[str, list[str]]:
    """As SQLAlchemy reads it: a path may hold an @, and nothing is a fragment."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(uri)
    except (ArgumentError, ValueError):
        user, _, place = rest.rpartition("@")
        place, _, query = place.partition("?")
        return f"{scheme}://{place}", _secrets(user, query)
    path = "" if url.database is None else f"/{url.database}"
    user = f"{url.username or ''}:{url.password or ''}".strip(":")
    return f"{scheme}://{url.host or ''}{path}", _secrets(user, rest.partition("?")[2])


def _without_user(rest: str) -> tuple[str, str]:
    """User and password, and what follows them. A password may hold any character."""
    authority, stop, _ = _cut(rest, "/?#")
    is_plain = "@" not in authority and _HOST.fullmatch(authority) is not None
    # "host:5000/a@b" is a path, and "name:12?3@host" may be a password.
    if is_plain and stop in ("/", "") and not (":" in authority and "@" in rest):
        return "", rest
    user, at, place = rest.rpartition("@")
    return (user, place) if at else ("", rest)


def _without_end(rest: str) -> tuple[str, str]:
    place, _, end = _cut(rest, "?#")
    return place, end


def _cut(text: str, stops: str) -> tuple[str, str, str]:
    """Text before the first of some characters, the character, and what follows."""
    at = min((text.find(stop) for stop in stops if stop in text), default=len(text))
    return text[:at], text[at : at + 1], text[at + 1 :]


def _secrets(user: str, end: str) -> list[str]:
    query, _, fragment = end.partition("#")
    password = user.partition(":")[2] or user
    values = [value for _, value in parse_qsl(query)]
    found = {user, password, unquote(password), query, fragment, *values}
    return [secret for secret in found if len(secret) >= _SHORTEST_SECRET]


def _without_secrets(line: str) -> str:
    """One line with every address in it as it is shown; where one ends can only be guessed."""
    starts = [match.start() for match in _IN_TEXT.finditer(line)] + [len(line)]
    parts = [line[: starts[0]]]
    for start, stop in pairwise(starts):
        piece = line[start:stop]
        word = _END_OF_WORD.search(piece)
        end = len(piece) if word is None else word.start()
        scheme, _, rest = piece.partition("://")
        authority = _cut(piece[:end].partition("://")[2], "/?#")[0]
        is_path = rest.startswith("/") and scheme.lower().startswith(("sqlite", "file"))
        # A password may hold what ends a word.
        if not is_path and not _HOST.fullmatch(authority) and "@" in piece[end:]:
            last = piece.rindex("@")
            word = _END_OF_WORD.search(piece, last)
            end = len(piece) if word is None else word.start()
        parts += [shown_address(piece[:end]), piece[end:]]
    return "".join(parts)
