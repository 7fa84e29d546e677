"""A store in which every word is an attack: what a finished run wrote, with other words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from zlib import crc32

import pandas as pd

from sing_monitor.snapshot import Snapshot
from sing_monitor.tracking import FolderStore
from sing_monitor.tracking.folder import FolderRun
from tests.app import structure
from tests.helpers.finished_run import FinishedRun

HOST = "foreign.test"
# Signs that only markup makes: an icon, a smiley, colored and mathematical words.
ICON, SMILEY = "skull", "\N{SMILING FACE WITH OPEN MOUTH AND SMILING EYES}"
# Of metrics: without a slash.
GROUP = f"x![](http:\\\\\\\\{HOST}\\\\group.png)`"
ATTACKS = (
    f"`![](http://{HOST}/code.png)`",
    f"``` ![](http://{HOST}/fence.png) ``",
    f"![](http://{HOST}/x.png)",
    f"![](//{HOST}/y.png) ![](http:\\\\{HOST}\\z.png)",
    f'"><img src="http://{HOST}/i.png" onerror="window.stolen = 1"><!--',
    f"<script src=http://{HOST}/s.js></script><iframe src=http://{HOST}/></iframe>",
    f"[press](javascript:window.stolen=1) [home](http://{HOST}/) <http://{HOST}/auto>",
    f"http://{HOST}/bare www.{HOST} me@{HOST}",
    f":material/{ICON}: :material_{ICON}: :smile: :streamlit: :red[red] :blue-badge[badge]",
    r"$\frac{1}{2}$ $$\href{http://foreign.test/}{x}$$ -> <- -- >= ~=",
    f"\n\n# title\n\n- item\n\n> quote\n\n    code ![](http://{HOST}/lines.png)\n",
    f"a\u200b\u202eb\u2066c\u2069\ufeff |x|y| &lt;b&gt; &#33;[](http://{HOST}/entity.png)",
    f"datum['x']}} + \\' \" {{{{ }}}} ${{window.stolen=1}} [^1]: http://{HOST}/note",
    f"image ![]({HOST}) " + "very long " * 300,
)


def poisoned(text: str) -> str:
    """An attack that is the same for the same text, with the text behind it."""
    return f"{ATTACKS[crc32(text.encode()) % len(ATTACKS)]} {text}"


def write_hostile_store(root: Path, finished: FinishedRun) -> FolderStore:
    """Runs with other words than the finished one: in the first ids stay, in the second not.

    Args:
        root: a folder that is new.
        finished: with a snapshot and concepts.
    """
    store = FolderStore(str(root))
    for number, has_hostile_ids in enumerate((False, True)):
        run = store.create_run(
            run_name=f"{ATTACKS[number]} run {number}", experiment=poisoned(f"experiment {number}")
        )
        _write(run, finished, has_hostile_ids)
        _follow_weights(run)
        run.finish("FINISHED")
    # A folder may have any name that is none of a path.
    name = f"`x` ![](http:\\\\{HOST}\\run.png) $x$ :red[x]"
    shutil.move(root / run.run_id, root / name)
    return store


def _write(run: FolderRun, finished: FinishedRun, has_hostile_ids: bool) -> None:
    reader = finished.reader
    source = reader.store
    stored = source.run(finished.run_id)
    ours = {key: value for key, value in stored.tags.items() if key.startswith("sing")}
    plain = ("sing_monitor", "sing.schema", "sing.reference", "sing.metric_prefix")
    tags = {key: value if key in plain else poisoned(value) for key, value in ours.items()}
    tags["sing.groups"] = f"{ours['sing.groups']},{GROUP}"
    tags["sing.alerts"] = "class_hidden@1,mine@2"
    run.put_tags(tags)
    points = source.histories([finished.run_id], sorted(stored.metrics))
    for (step, timestamp), at in points.groupby(["step", "timestamp"]):
        values = dict(zip(at["metric"], at["value"], strict=True))
        # A training may call its own metrics, and another version its groups, whatever it likes.
        own = (*map(poisoned, ("val_acc", "val_loss")), "image", "title", f"{GROUP}/x`y`")
        # What tells that there are modes.
        values |= dict.fromkeys(("dynamics/explained", "dynamics/explained_surrogate"), 0.9)
        run.put_scalars({**values, **dict.fromkeys(own, 0.5)}, int(step), int(timestamp))
    _copy(run, finished, "sing", has_hostile_ids)


def _follow_weights(run: FolderRun) -> None:
    """The tables of the modes, for which the finished run has too few validations."""
    tables = {
        "modes": structure.modes(),
        "mode_curves": structure.mode_curves(7),
        "mode_weights": structure.mode_weights(),
    }
    for folder in run.folder.glob("sing/epoch=*/"):
        for name, table in tables.items():
            _table(table, has_hostile_ids=True).to_parquet(folder / f"{name}.parquet")


def _copy(run: FolderRun, finished: FinishedRun, folder: str, has_hostile_ids: bool) -> None:
    source = finished.reader.store
    for path in source.files(finished.run_id, folder):
        if not Path(path).suffix:
            _copy(run, finished, path, has_hostile_ids)
            continue
        target = run.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with source.read_file(finished.run_id, path) as file:
            _copy_file(file, target, has_hostile_ids)


def _copy_file(file: Path, target: Path, has_hostile_ids: bool) -> None:
    if file.suffix == ".parquet":
        _table(pd.read_parquet(file), has_hostile_ids).to_parquet(target)
    elif file.name == "config.json":
        target.write_text(json.dumps(_config(json.loads(file.read_text()))), "utf-8")
    elif file.suffix == ".json" and has_hostile_ids:
        target.write_text(json.dumps(list(map(poisoned, json.loads(file.read_text())))), "utf-8")
    elif file.suffix == ".safetensors":
        _snapshot(Snapshot.load(file)).save(target)
    else:
        shutil.copy(file, target)


def _table(table: pd.DataFrame, has_hostile_ids: bool) -> pd.DataFrame:
    begin = ("image", "neighbours", "nearest")
    ids = [name for name in table if str(name).startswith(begin)]

    def other(value: object) -> object:
        if isinstance(value, str):
            return poisoned(value)
        return value if not hasattr(value, "__len__") else list(map(other, value))  # type: ignore[call-overload]

    for name, values in table.items():
        is_text = values.map(lambda value: isinstance(value, str) or hasattr(value, "__len__"))
        if is_text.any() and (has_hostile_ids or name not in ids):
            table[name] = values.map(other)
    # Whatever another version may have added.
    return table.assign(**{poisoned("column"): poisoned("cell")})


def _config(config: Mapping[str, Any]) -> dict[str, Any]:
    def other(value: Any) -> Any:
        if isinstance(value, str):
            return poisoned(value)
        if isinstance(value, list):
            return list(map(other, value))
        return {k: other(v) for k, v in value.items()} if isinstance(value, dict) else value

    kept = {key: config[key] for key in ("head", "space", "pixels", "ridge") if key in config}
    messages = {"class_hidden": poisoned("message"), "mine": poisoned("my message")}
    keys = {"mine": ["sing/class_hidden", poisoned("key")]}
    return {**other(dict(config)), **kept, "alerts": messages, "alert_metrics": keys}


def _snapshot(snapshot: Snapshot) -> Snapshot:
    texts = snapshot.texts
    assert texts is not None
    assert texts.concepts is not None
    return replace(
        snapshot,
        class_names=tuple(map(poisoned, snapshot.class_names)),
        texts=replace(
            texts,
            classes=replace(texts.classes, names=tuple(map(poisoned, texts.classes.names))),
            concepts=replace(texts.concepts, names=tuple(map(poisoned, texts.concepts.names))),
        ),
    )
