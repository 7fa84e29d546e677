"""SINGTrainerCallback: Hugging Face callback that measures what a classifier's head ignores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from sing_monitor.callbacks.neighbors import refuse_namesakes
from sing_monitor.callbacks.trainer_checkpoint import load_state, save_state
from sing_monitor.callbacks.trainer_loops import arguments, calling_trainer, surround, surrounded
from sing_monitor.callbacks.trainer_parts import (
    evaluates,
    evaluation_sets,
    how_to_open,
    moment,
    numbers,
    ongoing,
    refuse_replicas,
    source,
    trainer_data,
    watched_metric,
    watched_model,
    watched_prefix,
    watched_set,
)
from sing_monitor.callbacks.trainer_spelling import spell, spelled
from sing_monitor.errors import SetupError, as_setup_error
from sing_monitor.extra_pass.collect import collect_probe, feeding
from sing_monitor.keywords import method_with_options
from sing_monitor.messages import info, warn
from sing_monitor.monitor.accuracy import logged_accuracies
from sing_monitor.monitor.model_capture import ModelCapture
from sing_monitor.monitor.options import Options
from sing_monitor.monitor.publishing import Target
from sing_monitor.monitor.session import Session
from sing_monitor.monitor.state import MonitorState
from sing_monitor.monitor.summary import summary
from sing_monitor.monitor.validation import Source
from sing_monitor.processes import Processes
from sing_monitor.space.opening import open_space
from sing_monitor.space.semantic_space import SemanticSpace
from sing_monitor.tracking import MlflowRun


class SINGTrainerCallback(TrainerCallback):
    """Logs, at every evaluation, what the classifier's head ignores and what that means.

    Features, labels and images are taken from the evaluations that the Trainer runs anyway, in a
    training and when ``trainer.evaluate()`` is called. Other data is not looked at: that of
    ``trainer.predict(...)``, and that handed to ``trainer.evaluate(...)`` where the Trainer has an
    ``eval_dataset``. The trained model is never changed and, unless ``probe`` is given, never run a
    second time.

    Metrics and tables go to the run of the Trainer's MLflow integration (``report_to="mlflow"``)
    and to ``tracking``. The Trainer's own metrics stay as they are, with one exception: a metric of
    ours that ``metric_for_best_model`` names, such as ``"eval_sing/zero_shot_seen"``, is among
    them, so that the best checkpoint, ``EarlyStoppingCallback`` and ``ReduceLROnPlateau`` can go by
    it. The Trainer takes a larger value for the better one unless ``greater_is_better`` says
    otherwise, and NaN for no improvement. All metrics of the last evaluation are in ``scalars``.

    A checkpoint gets a file ``sing_monitor.pt``, from which a resumed training goes on.

    Args:
        **options: those of :class:`sing_monitor.SINGCallback`, with the same meaning.
            ``dataloader_idx`` chooses among several evaluation sets, in the order of the dict.
            Without ``class_names``, the names come from ``model.config.id2label`` or the data set.
            ``probe`` needs a model whose ``forward`` takes images as its first argument.

    Attributes:
        scalars: metrics of the last evaluation, by the name under which they are logged.

    Raises:
        SetupError: for an argument that cannot be used; at the beginning of a training for a model
            or a space that cannot.

    Example::

        >>> from sing_monitor.callbacks.transformers import SINGTrainerCallback
        >>> callback = SINGTrainerCallback(class_names=["cat", "dog"], tracking="runs/")
        >>> # trainer = Trainer(model, args, ..., callbacks=[callback])
    """

    @method_with_options(spelled()(Options))
    def __init__(self, options: Options) -> None:
        self.options = options
        self.scalars: dict[str, float] = {}
        self._watched: WeakSet[Trainer] = WeakSet()
        self._listed: WeakSet[Trainer] = WeakSet()  # that had the callback among theirs
        self._space: SemanticSpace | None = None
        self._states: WeakKeyDictionary[Trainer, MonitorState] = WeakKeyDictionary()
        self._session: Session | None = None
        # Runs of the Trainers' own integration.
        self._runs: WeakKeyDictionary[Trainer, MlflowRun | None] = WeakKeyDictionary()
        self._has_said_own_loop = self._has_reported = False
        self._resumed_from: str | bool | None = None
        self._prefix: str | None = None  # of the metrics of the evaluation that is watched

    def watch(self, trainer: Trainer) -> None:
        """Take part in the trainings and evaluations of a Trainer.

        A Trainer that has the callback among its ``callbacks`` is found by itself.
        """
        self._takes_part(trainer)
        if trainer in self._watched:
            return
        self._watched.add(trainer)
        for name, around in (
            ("train", self._around_training),
            ("evaluate", self._around_evaluation),
            ("evaluation_loop", self._around_loop),
        ):
            surround(trainer, name, partial(around, trainer))

    def on_init_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin to watch the Trainer."""
        self._find_trainer()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Refuse what cannot be monitored, before the first step."""
        trainer = self._find_trainer()
        self._close("FAILED")  # a training that the Trainer began and gave up
        self._runs[trainer], self._has_said_own_loop = None, False
        self._states[trainer] = load_state(trainer, self._resumed_from, self.options.name)
        with spelled():
            refuse_replicas(trainer)
            others = trainer.callback_handler.callbacks
            taken = [each.options.name for each in others if isinstance(each, SINGTrainerCallback)]
            refuse_namesakes(taken, self.options.name)
            chosen = watched_set(trainer.eval_dataset, self.options.dataloader_idx)
            self._session = self._make_session(trainer)
        if self.options.probe is not None:
            info(
                "the model runs once more over the loader given as probe= for every analyzed "
                "epoch, in eval mode and without gradients."
            )
        elif not evaluates(trainer):
            warn(
                "SINGTrainerCallback listens to evaluations, and none will run: eval_strategy is "
                '"no", or there is no eval_dataset. Pass TrainingArguments(eval_strategy="epoch") '
                "and Trainer(eval_dataset=...), or give it images of its own: "
                "SINGTrainerCallback(probe=DataLoader(...))."
            )
        elif len(names := evaluation_sets(trainer.eval_dataset)) > 1:
            info(
                f"of the evaluation sets {', '.join(names)}, {chosen} is watched; "
                "SINGTrainerCallback(dataloader_idx=...) chooses another."
            )
        if self._runs[trainer] is None and self.options.tracking is None:
            info(f"nothing is kept. {how_to_open(None, None)}")

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure the user's own probe, where no evaluation will."""
        trainer = self._find_trainer()
        if self._session is None or self.options.probe is None or evaluates(trainer):
            return
        self._start(trainer, self.options.probe)
        self._finish(trainer)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Keep the monitor's state beside the checkpoint."""
        trainer = self._find_trainer()
        save_state(trainer, self._state_of(trainer), self.options.name)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Say that an evaluation was not heard, where the callback was added after the Trainer."""
        trainer = calling_trainer()
        if trainer is not None and trainer not in self._watched:
            self.watch(trainer)
            warn(
                "this evaluation was not measured: the callback was added to a Trainer that was "
                "there already, and hears of it only now. The next ones are measured. To measure "
                "the first one too, call callback.watch(trainer) after "
                "trainer.add_callback(callback)."
            )

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Sum up, deliver what waits and take all hooks off the model."""
        trainer, session = self._find_trainer(), self._session
        if session is not None and Processes(args.world_size).is_first:
            session.flush()
            if session.last.scalars:
                tracking = self.options.tracking
                run = self._runs.get(trainer)
                uri = None if run is None else run.store.uri
                where = how_to_open(uri, None if tracking is None else str(tracking))
                info(f"{summary(session.last.scalars, session.last.intervals)} {where}")
            elif session.validations == 0 and evaluates(trainer) and not self._has_said_own_loop:
                warn(
                    "SINGTrainerCallback analyzed nothing, because no evaluation ran before the "
                    "training ended. Check eval_strategy, eval_steps and eval_delay."
                )
        self._close("FINISHED")

    def _find_trainer(self) -> Trainer:
        trainer = calling_trainer()
        if trainer is None:
            raise SetupError(
                "SINGTrainerCallback cannot tell which Trainer it belongs to. Call "
                "callback.watch(trainer) before trainer.train()."
            )
        self.watch(trainer)
        return trainer

    def _make_session(self, trainer: Trainer) -> Session:
        processes = Processes(trainer.args.world_size)
        run = self._runs[trainer] = ongoing(trainer) or self._runs.get(trainer)
        self._space = self._space or open_space(self.options.space, processes)
        session = Session(
            self.options,
            space=self._space,
            datamodule=trainer_data(trainer),
            state=self._state_of(trainer),
            processes=processes,
            targets=partial(_targets, run),
            spool_root=trainer.args.output_dir or ".",
            spell=spell,
            way="transformers",
        )
        try:
            session.capture.attach(watched_model(trainer))
        except (ValueError, TypeError) as error:
            raise as_setup_error(error) from error
        return session

    def _state_of(self, trainer: Trainer) -> MonitorState:
        """Of each Trainer its own: what one has learnt tells nothing of the other."""
        return self._states.setdefault(trainer, MonitorState())

    def _takes_part(self, trainer: Trainer) -> bool:
        """Whether the Trainer is listened to: not, once it has removed the callback."""
        if any(each is self for each in trainer.callback_handler.callbacks):
            self._listed.add(trainer)
            return True
        return trainer not in self._listed

    def _around_training(
        self, trainer: Trainer, train: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        self._resumed_from = arguments(train, *args, **kwargs).get("resume_from_checkpoint")
        try:
            return train(*args, **kwargs)
        except BaseException as error:
            self._close("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        finally:
            self._resumed_from = None

    def _around_evaluation(
        self, trainer: Trainer, evaluate: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        """An evaluation; over several sets the Trainer calls itself for each of them."""
        if self._prefix is not None or not self._takes_part(trainer):
            return evaluate(*args, **kwargs)
        given, index = arguments(evaluate, *args, **kwargs), self.options.dataloader_idx
        dataset, prefix = given.get("eval_dataset"), given.get("metric_key_prefix", "eval")
        with ExitStack() as after:
            with spelled():
                self._prefix = watched_prefix(trainer, dataset, prefix, index)
                after.callback(setattr, self, "_prefix", None)
                if self._prefix is not None and self._session is None:
                    refuse_replicas(trainer)
                    self._session = self._make_session(trainer)
                    after.callback(self._close, "FINISHED")
            session, prefix = self._session, self._prefix
            before = 0 if session is None else session.validations
            found = evaluate(*args, **kwargs)
            if session is not None and prefix is not None and session.validations == before:
                self._say_own_loop()
            return found

    def _say_own_loop(self) -> None:
        if not self._has_said_own_loop:
            self._has_said_own_loop = True
            warn(
                "this evaluation was not measured: evaluate() of the Trainer ran a loop of its "
                "own, and not evaluation_loop(...), in which SINGTrainerCallback reads the "
                "batches. Call super().evaluate(...) in it, or use sing_monitor.Monitor in that "
                "loop, with watch.add(images, labels) after every forward pass."
            )

    def _around_loop(
        self, trainer: Trainer, loop: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        """The loop over the batches of one set; ``predict`` runs it too."""
        given = arguments(loop, *args, **kwargs)
        prefix = given.get("metric_key_prefix")
        session = self._session
        if session is None or prefix is None or prefix != self._prefix:
            return loop(*args, **kwargs)
        try:
            if self.options.probe is None:
                self._start(trainer, given["dataloader"])
                with surrounded(trainer, "prediction_step", partial(_around_step, session)):
                    output = loop(*args, **kwargs)
            else:
                self._start(trainer, self.options.probe)
                output = loop(*args, **kwargs)
        except BaseException:
            session.abandon()
            raise
        scalars = self._finish(trainer)
        if self.options.probe is None:
            session.compare_accuracy(
                logged_accuracies(numbers(output.metrics), 0, several_loaders=False)
            )
        output.metrics.update(watched_metric(trainer, prefix, scalars))
        return output

    def _start(self, trainer: Trainer, loader: Any) -> None:
        """Begin a pass; over a probe of the user's own, run it whole."""
        session = self._session
        if session is None:
            return
        is_own, count = self.options.probe is not None, trainer.args.world_size
        model = watched_model(trainer)
        session.start(model, lambda: source(loader, 1 if is_own else count), moment(trainer))

        def run(capture: ModelCapture, own: Source) -> None:
            forward = feeding(model, self.options.batch_adapter)
            collect_probe(capture, model, own.loader, forward=forward, is_shared=count > 1)

        if is_own:
            session.collect(run)

    def _finish(self, trainer: Trainer) -> dict[str, float]:
        if self._session is None:
            return {}
        with spelled():
            self.scalars = self._session.finish()
        self._report(self._session, is_first=Processes(trainer.args.world_size).is_first)
        return self.scalars

    def _report(self, session: Session, *, is_first: bool) -> None:
        """Say once what is used: a Trainer rehearses no evaluation."""
        if self._has_reported or not is_first or not session.last.scalars:
            return
        self._has_reported = True
        with session.faults.kept():
            info(str(session.capture.report(session.last.seen)))

    def _close(self, status: str) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close(status)


def _targets(run: MlflowRun | None) -> Sequence[Target]:
    return [] if run is None else [Target(run.run_id, lambda: run)]


def _around_step(session: Session, step: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """One step of an evaluation. The loss may take the labels out of a copy of the batch."""
    batch = arguments(step, *args, **kwargs).get("inputs")
    session.before_batch(batch)
    result = step(*args, **kwargs)
    session.after_batch(batch)
    return result
