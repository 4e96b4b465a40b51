"""Originals -> rewritten rows, in the order of the input.

What becomes of a row is a pure function of the row, the settings and the journal (``review``): it names the next
request, or the end. A run does nothing but send the requests that are named and put their answers into the journal,
so that a run that was killed goes on by starting again. Rows are read, asked about and written in a sliding window, so
that a file of any length takes the memory of a few hundred rows.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TypeVar

from srl.chat_api.budget import Budget
from srl.chat_api.client import ChatAnswer, Endpoint, EndpointError, GivenUp
from srl.rewriting.accept import Rejection, check_rewrite
from srl.rewriting.dialogue import Request, first_request, repair_request
from srl.rewriting.journal import Answer, Journal
from srl.rewriting.originals import LeftAlone, Original
from srl.rewriting.settings import RewriteConfig
from srl.rewriting.summary import RewriteSummary
from srl.trajectories.reader import drop_to_json
from srl.types import DroppedRow
from srl.whole_file import WriteLine

MAX_ANSWERS = 2
"""An answer, and one more when the first fails a check."""
ROWS_PER_SLOT = 16
"""Rows held for each request under way: how far one slow answer may fall behind the others."""

Item = Original | LeftAlone | DroppedRow
"""What a row of the input turned out to be."""
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Rewrite:
    """A rewritten solution that passed all checks."""

    original: Original
    """What it was made from."""
    text: str
    """The numbered, titled steps."""
    answer: Answer
    """The answer it came in."""
    attempts: int
    """Answers that it took."""

    def row(self) -> dict[str, object]:
        """The row of the output, which every reader of solutions takes as it is."""
        original = self.original
        return {
            "id": original.trajectory_id,
            "problem": original.problem,
            "solution": self.text,
            "answer": original.answer,
            "original_solution_sha256": hashlib.sha256(original.solution.encode()).hexdigest(),
            "rewritten_by": {"model": self.answer.model, "host": self.answer.host, "attempts": self.attempts},
        }


def review(original: Original, config: RewriteConfig, journal: Journal) -> Request | Rewrite | Rejection:
    """What the journal says about a row: the request that is to be sent next, or how it ended."""
    request = first_request(original, config)
    for attempt in range(1, MAX_ANSWERS + 1):
        answer = journal.get(request.key)
        if answer is None:
            return request
        verdict = check_rewrite(
            answer.text,
            answer.finish_reason,
            original=original.solution,
            stated_answer=original.stated_answer,
            min_length_ratio=config.min_length_ratio,
            max_length_ratio=config.max_length_ratio,
            max_step_chars=config.read.max_step_chars,
        )
        if verdict.rejection is None:
            return Rewrite(original=original, text=verdict.text, answer=answer, attempts=attempt)
        if attempt == MAX_ANSWERS:
            return verdict.rejection
        request = repair_request(request, verdict.text, verdict.rejection.detail, config)
    raise AssertionError("the last attempt returns")


async def rewrite(
    items: Iterable[Item],
    config: RewriteConfig,
    journal: Journal,
    *,
    key: str,
    write: WriteLine,
    report: WriteLine,
    show: Callable[[RewriteSummary], None],
) -> RewriteSummary:
    """Rewrite the originals among ``items`` and write them, in order; what is left out goes to ``report``.

    Raises EndpointError when asking on is pointless; all answers that came are in the journal then.
    """
    spent = config.endpoint.cost(journal.prompt_tokens, journal.completion_tokens)
    budget = Budget(maximum=config.max_cost, spent=spent)
    async with Endpoint(config.endpoint, key=key, budget=budget) as endpoint:
        run = _Run(config, journal, endpoint, write=write, report=report, show=show)
        try:
            await run.go(iter(items))
        except EndpointError as error:
            raise EndpointError(
                f"{error}. {len(journal)} answers are kept in {journal.path}; the same command goes on from there"
            ) from error
        finally:
            run.close()
    run.summary.retries = endpoint.retries
    run.summary.total_cost = budget.spent
    return run.summary


_Outcome = Rewrite | Rejection | GivenUp


def _next(items: Iterator[Item]) -> Item | None:
    return next(items, None)


class _Run:
    def __init__(
        self,
        config: RewriteConfig,
        journal: Journal,
        endpoint: Endpoint,
        *,
        write: WriteLine,
        report: WriteLine,
        show: Callable[[RewriteSummary], None],
    ) -> None:
        self.summary = RewriteSummary()
        self._config = config
        self._journal = journal
        self._endpoint = endpoint
        self._write = write
        self._report = report
        self._show = show
        self._num_rows_asked = 0
        self._under_way: dict[str, asyncio.Event] = {}
        # Reading rows and comparing answers may take a second in which no reply could be received.
        self._thread = ThreadPoolExecutor(max_workers=1)

    def close(self) -> None:
        self._thread.shutdown()

    async def go(self, items: Iterator[Item]) -> None:
        window: deque[tuple[Original, asyncio.Task[_Outcome]]] = deque()
        try:
            while (item := await self._in_thread(_next, items)) is not None:
                self.summary.num_read += 1
                if not isinstance(item, Original):
                    self._leave_out(item)
                    continue
                state = self._limited(await self._review(item))
                window.append((item, asyncio.create_task(self._finish(item, state))))
                if len(window) > self._config.concurrency * ROWS_PER_SLOT:
                    await self._close_first(window)
            while window:
                await self._close_first(window)
        except BaseException as error:
            self._endpoint.stop()
            if isinstance(error, asyncio.CancelledError):  # by the user, who does not want to wait
                for _, task in window:
                    task.cancel()
            await asyncio.gather(*(task for _, task in window), return_exceptions=True)
            raise
        counts = self.summary
        if counts.failed and not (counts.num_answers or counts.num_accepted or counts.rejected):
            reasons = ", ".join(f"{count} {reason}" for reason, count in counts.failed.most_common())
            raise EndpointError(f"{self._config.endpoint.host}: no request was answered ({reasons})")

    async def _in_thread(self, function: Callable[..., _T], *arguments: object) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    async def _review(self, original: Original) -> Request | _Outcome:
        return await self._in_thread(review, original, self._config, self._journal)

    async def _close_first(self, window: deque[tuple[Original, asyncio.Task[_Outcome]]]) -> None:
        original, task = window[0]
        self._count(original, await task)
        window.popleft()
        self._show(self.summary)

    def _limited(self, state: Request | _Outcome) -> Request | _Outcome:
        """``state``, or the end where it would be one row too many. Decided in the order of the input."""
        if not isinstance(state, Request):
            return state
        if self._config.limit and self._num_rows_asked >= self._config.limit:
            return GivenUp(reason="limit", detail=f"{self._config.limit} rows were asked about", was_tried=False)
        self._num_rows_asked += 1
        return state

    async def _finish(self, original: Original, state: Request | _Outcome) -> _Outcome:
        while isinstance(state, Request):
            other = self._under_way.get(state.key)
            if other is not None:  # a row with the same problem and solution is being asked about
                await other.wait()
                state = await self._review(original)
                continue
            self._under_way[state.key] = asyncio.Event()
            try:
                answer = await self._endpoint.ask(state.messages)
                if isinstance(answer, GivenUp):
                    return answer
                self._journal.append(self._entry(state, answer))
                self._count_answer(answer)
            finally:
                self._under_way.pop(state.key).set()
            state = await self._review(original)
        return state

    def _entry(self, request: Request, answer: ChatAnswer) -> Answer:
        return Answer(key=request.key, model=self._config.model, host=self._config.endpoint.host, **asdict(answer))

    def _count_answer(self, answer: ChatAnswer) -> None:
        self.summary.num_answers += 1
        self.summary.num_estimated += answer.is_estimated
        self.summary.prompt_tokens += answer.prompt_tokens
        self.summary.completion_tokens += answer.completion_tokens
        self.summary.cost += self._config.endpoint.cost(answer.prompt_tokens, answer.completion_tokens)

    def _leave_out(self, item: LeftAlone | DroppedRow) -> None:
        if isinstance(item, LeftAlone):
            self.summary.left_alone[item.value] += 1
            return
        self.summary.unreadable[item.reason] += 1
        self._report(drop_to_json(item))

    def _count(self, original: Original, outcome: _Outcome) -> None:
        counts = self.summary
        if isinstance(outcome, Rewrite):
            counts.num_accepted += 1
            counts.num_repaired += outcome.attempts > 1
            counts.num_without_answer += original.stated_answer is None
            self._write(outcome.row())
            return
        if isinstance(outcome, Rejection):
            counts.rejected[outcome.reason.value] += 1
        elif outcome.was_tried:
            counts.failed[outcome.reason] += 1
        else:
            counts.not_asked[outcome.reason] += 1
        left_out = DroppedRow(
            source=original.source, line=original.source.line, reason=outcome.reason, detail=outcome.detail
        )
        self._report(drop_to_json(left_out))
