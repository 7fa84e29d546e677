"""One curve of many runs in one question to an MLflow server, as MLflow's own UI asks it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_PATH = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
RUNS_AT_ONCE = 100
# The server leaves out what is beyond, and does not say so.
_MOST_POINTS = 25_000


def curve_of_runs(uri: str, run_ids: Sequence[str], metric: str) -> list[tuple[Any, ...]] | None:
    """Every point of a metric of some runs.

    Args:
        uri: of the server.
        run_ids: at most `RUNS_AT_ONCE`.
        metric: its name.

    Returns:
        The values of `CURVE_COLUMNS` of each point; None where the server does not answer such
        questions, or not with all points.
    """
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    answer = http_request(
        host_creds=get_default_host_creds(uri),
        endpoint=_PATH,
        method="GET",
        params={"run_id": list(run_ids), "metric_key": metric, "max_results": _MOST_POINTS},
        raise_on_status=False,
    )
    if answer.status_code != 200:
        return None
    try:
        points = answer.json()["metrics"]
        found = [
            (point["run_id"], metric, point["step"], point["timestamp"], float(point["value"]))
            for point in points
        ]
    # Another program at this path.
    except (ValueError, LookupError, TypeError):
        return None
    return found if len(found) < _MOST_POINTS else None
