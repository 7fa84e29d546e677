"""Analysis in the first process: from the rows of all processes to findings."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from sing_monitor.capture.collector import Collector
from sing_monitor.capture.map_rows import joined_maps
from sing_monitor.capture.pass_maps import PassMaps
from sing_monitor.capture.probe import Account, ProbeRows
from sing_monitor.capture.stages.pass_stages import PassStages, joined_stages
from sing_monitor.errors import SetupError, as_setup_error
from sing_monitor.feature_maps import FeatureMaps
from sing_monitor.head.geometry import HeadGeometry, Invariance
from sing_monitor.headline import interval_ends
from sing_monitor.inputs.resolved_inputs import ResolvedInputs
from sing_monitor.lightning_types import is_setup_fault
from sing_monitor.messages import info, warn
from sing_monitor.monitor.exchange import Outcome, Share
from sing_monitor.monitor.model_capture import ModelCapture
from sing_monitor.monitor.options import Options
from sing_monitor.monitor.remarks import (
    doubts_of_copies,
    doubts_of_groups,
    doubts_of_maps,
    doubts_of_stages,
    doubts_of_thresholds,
    infos,
    map_infos,
    notes,
    stage_infos,
    translator_infos,
    why_nothing,
)
from sing_monitor.monitor.state import MonitorState
from sing_monitor.monitor.validation import Moment
from sing_monitor.no_trace import no_trace
from sing_monitor.translate.cost import (
    LONG,
    NOTICED,
    MapShape,
    Shape,
    estimate,
    in_words,
    measure_speed,
    seconds_to_compare,
)
from sing_monitor.translate.random_subspaces import RANDOM_SEED
from sing_monitor.translate.ridge_curve import KeptRidge
from sing_monitor.weights.trajectory import Trajectory

if TYPE_CHECKING:
    from sing_monitor.findings import Findings
    from sing_monitor.snapshot import Snapshot
    from sing_monitor.space.text_embeddings import Texts

# Operations a second that any machine manages.
_SLOW = 1e9


@dataclass(frozen=True)
class ProbeAnalysis:
    """Analysis of one validation: everything that it needs besides the rows.

    Args:
        moment: of the validation; in a rehearsal nothing is analyzed.
        ridge: rho, or ``"auto"``.
        previous_weight: of the last analyzed head, or None.
        n_images: how many movers get neighbors and thumbnails.
        n_maps: of how many images maps are kept.
        invariance: what the null space leaves unchanged.
        images: number of validation images; None where it is not known.
        probe_size: the most that are scored.
        previous: what the analyses of the last validation kept, by name; None: there was none.
        trajectory: of some weights, up to this validation; None: they are not followed.
        chosen: the analyses that run; None: all.
    """

    moment: Moment
    ridge: float | Literal["auto"]
    previous_weight: Tensor | None
    n_images: int
    n_maps: int
    invariance: Invariance
    images: int | None
    probe_size: int
    previous: Mapping[str, Tensor] | None = None
    trajectory: Trajectory | None = None
    chosen: Collection[str] | None = None

    @classmethod
    def next(
        cls,
        options: Options,
        state: MonitorState,
        moment: Moment,
        images: int | None,
        trajectory: Trajectory | None,
    ) -> ProbeAnalysis:
        """The analysis of a validation that follows those that the state tells of."""
        ridge = options.ridge
        if ridge == "auto" and state.ridge is not None:
            ridge = KeptRidge(state.ridge)
        return cls(
            moment,
            ridge=ridge,
            previous_weight=state.head_weight if moment.is_training else None,
            n_images=options.n_images,
            n_maps=options.n_maps,
            invariance=options.invariance,
            images=images,
            probe_size=options.probe_size,
            previous=state.kept if moment.is_training else None,
            trajectory=trajectory,
            chosen=options.analyses,
        )

    def run(
        self, capture: ModelCapture, shares: Sequence[Share]
    ) -> tuple[Outcome, Findings | None, Snapshot | None]:
        """Analyze the rows of all ranks; a fault becomes an outcome, never an exception."""
        try:
            for share in shares:
                if share.failure is not None:
                    return self._failed(share.failure, share.is_setup_fault, shares), None, None
            account = Account.joined([share.account for share in shares])
            parts = [share.rows for share in shares if share.rows is not None]
            rows = ProbeRows.joined(parts, self.probe_size) if parts else None
            if self.moment.is_rehearsal and rows is not None and capture.is_settled:
                info(str(capture.report(self.images)))
                return Outcome(threshold=rows.threshold), None, None
            if capture.is_settled and (rows is None or len(rows) == 0):
                # The next epoch may have images again: no fault of the set-up.
                return self._failed(why_nothing(account), False, shares), None, None
            with no_trace():
                outcome, findings, snapshot = self.analyze(capture.collector, rows, account)
            notes = (*outcome.notes, *capture.head_watch.doubts(snapshot.labels))
            return replace(outcome, notes=notes), findings, snapshot
        except Exception as error:
            return self._failed(as_setup_error(error), is_setup_fault(error), shares), None, None

    def analyze(
        self, collector: Collector | None, rows: ProbeRows | None, account: Account
    ) -> tuple[Outcome, Findings, Snapshot]:
        """Analyze the rows of a probe.

        Args:
            collector: that has collected them.
            rows: of all ranks.
            account: what became of the images that are not among them.

        Raises:
            ValueError: if there is nothing to analyze, or what there is holds NaN.
        """
        from sing_monitor.analyses import analyze
        from sing_monitor.analyses.classes import poor_classes
        from sing_monitor.analyses.layers.specs import MOST_IMAGES
        from sing_monitor.findings import Findings

        if rows is None or len(rows) == 0:
            raise why_nothing(account)
        if collector is None or collector.setup is None:
            raise ValueError("no validation batch was seen, so there is nothing to analyze.")
        # A full probe misses nothing.
        missing = min(account.missing, self.probe_size - len(rows))
        account = replace(account, missing=missing)
        maps = joined_maps(rows.maps, self.n_maps, rows.image_ids)
        stages = joined_stages(rows.stages, MOST_IMAGES, rows.image_ids)
        if self.previous_weight is None:
            self._announce(collector.setup, rows, maps.maps)
        texts = None
        if rows.embeddings.shape[1]:
            texts = collector.setup.texts(rows.embeddings, rows.labels)
        snapshot = self._snapshot(collector, collector.setup.class_names, rows, texts)
        snapshot = replace(snapshot, maps=maps.maps, stages=stages.features)
        findings = analyze(
            snapshot,
            texts,
            ridge=self.ridge,
            previous_head=self._previous_head(collector, snapshot.weight.shape[1]),
            seed=RANDOM_SEED,
            n_images=self.n_images,
            previous=self.previous,
            trajectory=self.trajectory,
            chosen=self.chosen,
        ) | Findings(
            {
                "monitor/samples": float(len(snapshot)),
                "monitor/accuracy": snapshot.accuracy,
                "monitor/skipped": float(account.missing),
            }
        )
        collector.decomposed = snapshot.weight, snapshot.geometry
        outcome = Outcome(
            findings.scalars,
            interval_ends(findings.tables),
            wanted=self._pictured(findings),
            notes=(
                *notes(account, self.moment.epoch),
                *doubts_of_maps(maps),
                *doubts_of_stages(stages),
                *doubts_of_groups(rows.groups),
                *doubts_of_thresholds(snapshot),
                *doubts_of_copies(findings.scalars, has_groups=rows.groups is not None),
            ),
            infos=(
                *infos(account),
                *translator_infos(self.ridge, findings.scalars),
                *map_infos(maps),
                *stage_infos(stages),
            ),
            threshold=rows.threshold,
            seen=account.seen,
            poor_classes=poor_classes(findings.tables["classes"])
            if "classes" in findings.tables
            else (),
            map_ids=_tapped(maps, stages),
            kept=findings.kept,
        )
        return outcome, findings, snapshot

    def _failed(
        self, failure: SetupError, is_setup_fault: bool, shares: Sequence[Share]
    ) -> Outcome:
        """Outcome of an epoch without numbers: all are NaN but, if known, how many images it lost.

        That is as many as a pass is known to have; else as many as came, where it went to its end.
        """
        known = [share.expected for share in shares if share.expected is not None]
        if not known and all(share.failure is None for share in shares):
            known = [min(sum(share.account.seen for share in shares), self.probe_size)]
        return Outcome(
            {"monitor/skipped": float(max(known, default=math.nan))},
            failure=failure,
            is_setup_fault=is_setup_fault,
        )

    def _snapshot(
        self,
        collector: Collector,
        class_names: tuple[str, ...],
        rows: ProbeRows,
        texts: Texts | None,
    ) -> Snapshot:
        """Rows of all processes as a snapshot, with the head's weight as the features met it."""
        from sing_monitor.snapshot import Snapshot

        weight, bias = collector.head_parameters
        return Snapshot(
            weight=weight.cpu(),
            bias=None if bias is None else bias.cpu(),
            features=rows.features,
            labels=rows.labels,
            embeddings=rows.embeddings if rows.embeddings.shape[1] else None,
            class_names=class_names,
            epoch=self.moment.epoch,
            step=self.moment.step,
            image_ids=rows.image_ids,
            groups=rows.groups,
            sample_index=rows.sample_index,
            attributes=rows.attributes,
            invariance=self.invariance,
            texts=texts,
            hierarchy=collector.setup.hierarchy if collector.setup else None,
        )

    def _announce(self, setup: ResolvedInputs, rows: ProbeRows, maps: FeatureMaps | None) -> None:
        """Say of a long analysis that it is one: not every training is rehearsed."""
        concepts = len(setup.concepts.names) if setup.concepts else 0
        compared = None
        if maps is not None:
            height, width = maps.grid
            compared = MapShape(len(maps), maps.values.shape[1], height * width)
        shape = Shape(
            len(rows),
            setup.head.feature_dim,
            setup.head.num_classes,
            rows.embeddings.shape[1],
            concepts,
            self.ridge,
            compared,
        )
        # Most are short on any machine, whose speed need not be measured.
        is_slow = estimate(shape, _SLOW).seconds > LONG
        if is_slow or (compared and seconds_to_compare(compared, _SLOW) > NOTICED):
            speed = measure_speed()
            if estimate(shape, speed).seconds > LONG:
                warn(f"The analysis takes {in_words(shape, speed)}.")
            elif compared and seconds_to_compare(compared, speed) > NOTICED:
                info(f"The similarity of images takes {compared.in_words(speed)}.")

    def _pictured(self, findings: Findings) -> tuple[int, ...]:
        """Ids of the images whose pictures are stored, as the probe knows them (signed)."""
        if self.n_images == 0:
            return ()
        return tuple(sorted(_signed(int(image, 16)) for image in findings.pictured))

    def _previous_head(self, collector: Collector, feature_dim: int) -> HeadGeometry | None:
        """None also where a new network took the old one's place: there is no drift between two."""
        if self.previous_weight is None or self.previous_weight.shape[1] != feature_dim:
            return None
        weight = self.previous_weight.cpu()
        if collector.decomposed is not None:
            known, geometry = collector.decomposed
            if torch.equal(known, weight):
                return geometry
        return HeadGeometry.from_weight(weight, invariance=self.invariance)


def _tapped(maps: PassMaps, stages: PassStages) -> tuple[int, ...]:
    """Ids of the images of which maps or stages were kept."""
    kept = [each.image_ids for each in (maps.maps, stages.features) if each is not None]
    return tuple(torch.cat(kept).unique().tolist()) if kept else ()


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value
