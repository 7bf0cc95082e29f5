"""The cells of a run: what fits is made ready, then all are timed by turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cocom.benchmark.cost import sizes_of
from cocom.benchmark.counting import count_flops
from cocom.benchmark.memory import free_bytes, give_back, is_out_of_memory, peak_of
from cocom.benchmark.options import BenchmarkOptions, Point
from cocom.benchmark.prediction import Prediction
from cocom.benchmark.result import Cell, Floors, Way
from cocom.benchmark.subjects import Subject
from cocom.benchmark.timing import once, spread, take_turns
from cocom.benchmark.workload import Workload
from cocom.errors import PromptTooLongError

__all__ = ["Session"]

_UNTIMED = 2  # runs before the rounds: one that warms up, one that counts operations
_MEMORY = 0.9  # of what is free


@dataclass
class _State:
    """What is known of a point so far."""

    point: Point
    subject: Subject | None = None
    seconds: list[float] = field(default_factory=list)
    rounds: int = 0
    peak: int | None = None
    counted: float | None = None
    skipped: str = ""
    late: bool = False
    notes: dict[str, Any] = field(default_factory=dict)


class Session:
    """Measures points; what was measured so far is there at any time."""

    def __init__(
        self,
        workload: Workload,
        points: Sequence[Point],
        options: BenchmarkOptions,
        floors: Floors,
        progress: Callable[[str], None],
    ) -> None:
        """Prepare.

        Args:
            workload: Passages, questions and the model.
            points: What to measure.
            options: Of the run.
            floors: Of the machine.
            progress: Told what is done, now and then.
        """
        self._workload = workload
        self._model = workload.model
        self._device = workload.model.backbone.device
        self._options = options
        self._floors = floors
        self._progress = progress
        self._reader = sizes_of(self._model, "read")
        self._compressor = sizes_of(self._model, "compress")
        self._states = [_State(point) for point in points]
        self._predictions: dict[tuple[bool, Way], Prediction] = {}

    def run(self) -> None:
        """Make every point ready, the small ones first, and time them by turns."""
        for state in self._states:
            point = state.point
            plain = point.way == "straightforward" and point.what == "compress"
            if plain and self._model.encoder is not None:
                state.skipped = (
                    "the model has a light compressor, for which there is no straightforward way."
                )
            else:
                state.subject = Subject(self._workload, point, self._reader, self._compressor)
        ready = [state for state in self._states if state.subject is not None]
        # First answers without passages, which tell what a step takes; then the small ones.
        ready.sort(
            key=lambda s: (s.point.what != "answer" or s.point.context != "none", self._least(s))
        )
        for number, state in enumerate(ready):
            self._progress(f"making ready {number + 1} of {len(ready)} cells")
            self._make_ready(state)
        # What seemed to take too long may not, once more is known of the machine.
        for state in [state for state in ready if state.late]:
            self._make_ready(state)
        turns = {i: state.rounds for i, state in enumerate(ready) if state.rounds}
        total, done = sum(turns.values()), 0

        def turn(number: int, round: int) -> None:
            nonlocal done
            done += 1
            self._progress(f"round {round + 1}: {done} of {total} measurements")
            state = ready[number]
            if not state.skipped:
                seconds = self._try(state, lambda: once(self._work(state), self._device))
                if seconds is not None:
                    state.seconds.append(seconds)

        take_turns(turns, turn)

    def cells(self, floors: Floors) -> tuple[Cell, ...]:
        """All points in their order, measured or not.

        Args:
            floors: The best that was measured of the machine.
        """
        return tuple(self._cell(state, floors) for state in self._states)

    def _make_ready(self, state: _State) -> None:
        """Predict, run once for the peak of memory, once more to count operations."""
        subject, prediction = self._subject(state), self._prediction(state.point)
        least, options = self._least(state), self._options
        seconds = prediction.seconds(least, subject.passes) * (options.rounds + _UNTIMED)
        state.late, state.skipped = seconds > options.cell_seconds, ""
        if state.late:
            state.skipped = (
                f"predicted to take {seconds:.0f} s for {options.rounds} rounds, above the "
                f"{options.cell_seconds:g} s that a cell may take: raise --cell-seconds."
            )
            return
        needed, free = subject.memory(), free_bytes(self._device)
        if free is not None and needed > _MEMORY * free:
            state.skipped = (
                f"predicted to take {needed / 1e9:.1f} GB of memory, of which {free / 1e9:.1f} GB are free: "
                "measure it on a device with more, or leave it out by --passages and --batch."
            )
            return
        took = self._first_run(state)
        if took is None:
            return
        prediction.learn(least, subject.passes, took)
        state.rounds = min(options.rounds, max(1, int(options.cell_seconds / took)))
        if state.rounds < options.rounds:
            state.notes["rounds"] = (
                f"{state.rounds} of {options.rounds}, because --cell-seconds leaves no time for more"
            )

    def _first_run(self, state: _State) -> float | None:
        """Seconds of a run, after one that gets everything ready; None if there is no room for it."""
        work = self._work(state)
        peaks: list[int | None] = []
        took: float | None = self._try(
            state, lambda: once(lambda: peaks.append(peak_of(work, self._device)), self._device)
        )
        if took is None:
            return None
        (state.peak,) = peaks
        # What streams is computed in another thread, where nothing is counted.
        if state.point.what != "stream" and took * _UNTIMED < self._options.cell_seconds:
            again = self._try(state, lambda: once(lambda: self._count(state, work), self._device))
            took = min(took, again or took)  # the first may have been slow
        if not state.skipped and not self._prediction(state.point).known:
            took = min(took, once(work, self._device))  # others rest on it
        return None if state.skipped else took

    def _count(self, state: _State, work: Callable[[], object]) -> None:
        state.counted = count_flops(work)

    def _try(self, state: _State, call: Callable[[], Any]) -> Any:
        """Call, and write down why it could not be done if there is no room for it."""
        try:
            return call()
        except PromptTooLongError as error:
            state.skipped = str(error)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            state.skipped = f"out of memory: {(str(error).strip().splitlines() or ['no more'])[0]}"
        state.seconds.clear()
        give_back(self._device)
        return None

    def _cell(self, state: _State, floors: Floors) -> Cell:
        point, subject = state.point, state.subject
        skipped = state.skipped
        if not state.seconds and not skipped:
            skipped = "the run was interrupted before this was measured."
        return Cell(
            what=point.what,
            way=point.way,
            context=point.context,
            passages=point.passages,
            batch=point.batch,
            new_tokens=point.new_tokens,
            seconds=spread(state.seconds) if state.seconds else None,
            rows=0 if subject is None else subject.rows,
            flops_analytic=None if subject is None else subject.flops(floors),
            flops_counted=state.counted,
            floor_seconds=None if subject is None else subject.cost(floors).floor_seconds,
            peak_bytes=state.peak,
            skipped=skipped,
            notes=state.notes,
        )

    def _subject(self, state: _State) -> Subject:
        assert state.subject is not None
        return state.subject

    def _work(self, state: _State) -> Callable[[], object]:
        return self._subject(state).work()

    def _least(self, state: _State) -> float:
        """Least seconds for what this way computes."""
        subject = self._subject(state)
        computed = subject.flops(self._floors) / self._floors.matrix.median
        return max(subject.cost(self._floors).floor_seconds, computed)

    def _prediction(self, point: Point) -> Prediction:
        return self._predictions.setdefault((point.what == "compress", point.way), Prediction())
