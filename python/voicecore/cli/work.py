"""`voicecore work`: the scheduler as a plain job worker (lesson R14)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from dataclasses import dataclass
from typing import Any

import click

from voicecore import CommandQueue, Scheduler
from voicecore.cli.exits import SIGNAL_BASE, Exit, Failure
from voicecore.cli.job import JobEnd, Template, run_job
from voicecore.cli.keep_awake import keep_awake_option
from voicecore.cli.output import complain, json_line
from voicecore.cli.signals import StopSignals
from voicecore.database import DatabaseError
from voicecore.errors import VoicecoreError
from voicecore.queue import Command


@dataclass(frozen=True, slots=True)
class WorkOptions:
    """The command line, understood."""

    db: str
    template: Template
    jobs: int
    timeout: float | None
    tries: int
    lease: float
    period: float
    synchronous: str
    until_empty: bool
    json: bool


class JobScheduler(Scheduler):
    """Every command is a program; several run at a time."""

    SHUTDOWN_TIMEOUT_SECONDS = 12
    _SHUTDOWN_SHARES = (0.5, 0.4)
    """Six seconds for programs to end by themselves; then SIGTERM, and SIGKILL after two more."""

    def __init__(self, options: WorkOptions, queue: CommandQueue) -> None:
        super().__init__(None, queue, period=options.period, budget=options.jobs)
        self._options = options
        self._last = time.monotonic()

    async def _carry_out(self, command: Command) -> None:
        # Beside the drain: a job may be long, and its key's next command waits for it anyway.
        self._spawn(self._job(command))

    async def _job(self, command: Command) -> None:
        self._last = time.monotonic()
        began = time.monotonic()
        try:
            if await self._commands.is_lost(command):
                return
            end = await run_job(
                self._options.template.arguments(command),
                command,
                self._options.timeout,
                # Records and what programs say would be mixed.
                stdout=sys.stderr.fileno() if self._options.json else None,
            )
        except (asyncio.CancelledError, DatabaseError):
            # The worker ends, or cannot tell whether it is ours: somebody else does it, from the
            # beginning.
            with contextlib.suppress(VoicecoreError):
                await self._finish(command, lambda: self.queue.give_back(command))
            raise
        outcome = await self._settle(command, end)
        self._last = time.monotonic()
        self._tell(command, end, outcome, time.monotonic() - began)

    async def _settle(self, command: Command, end: JobEnd) -> str:
        outcome = "failed" if end.problem else "done"

        async def end_it() -> None:
            nonlocal outcome
            if not end.problem:
                await self.queue.ack(command)
            elif not end.retry:
                await self.queue.fail(command, end.problem)
            elif await self.queue.nack(command, end.problem, max_attempts=self._options.tries):
                outcome = "retry"

        return outcome if await self._finish(command, end_it) else "lost"

    def _tell(self, command: Command, end: JobEnd, outcome: str, seconds: float) -> None:
        if self._options.json:
            record = {
                "id": command.id,
                "name": command.command,
                "entry_id": command.entry_id,
                "key": command.key,
                "attempt": command.attempt,
                "outcome": outcome,
                "exit_code": end.code,
                "error": end.problem or None,
                "seconds": round(seconds, 3),
            }
            sys.stdout.buffer.write(json_line("work", record))
            sys.stdout.flush()
        else:
            text = f"{command.id} {command.command}: {outcome} in {seconds:.2f} s"
            complain(f"{text} ({end.problem})" if end.problem else text)

    @property
    def lost_file(self) -> bool:
        """It has ended, for its queue file is no longer safe to use."""
        return isinstance(self._supervisor.fatal, DatabaseError)

    async def until_empty(self) -> None:
        """Return when nothing waits, runs, or is in hand, or when the scheduler has ended."""
        while True:
            await asyncio.sleep(0.02)
            if not self._admitting:
                return
            if self._pending_tasks or time.monotonic() - self._last < 0.1:
                continue
            if not await self.queue.peek(1):
                return


@click.command(
    short_help="Carry out commands with a program.",
    epilog="""\b
Examples:
  voicecore work --db jobs.db --exec './job.sh {command} {entry_id}'
  voicecore work --db jobs.db --exec 'resize {args}' --jobs 4 --timeout 60

\b
The line is split once, like a shell would; fields are put into single arguments and no shell sees
them: {id} {command} {entry_id} {key} {args} {requested_by} {attempt} {given_back} {max_attempts}
{priority} {dedup_key} {created_at} {not_before} {expires_at}. The environment has them as
VOICECORE_ID, VOICECORE_COMMAND and so on. Times are seconds since 1970 UTC; what is not there is
empty. {attempt} counts claims; {given_back} of them came to nothing, such as a worker's end.


A program that ends with 0 is done, with 75 it is tried again later, with anything else it has
failed. One that the system has no descriptors, processes or memory for is tried again later, too.
Its lease is renewed while it runs. What it leaves behind in the background is not waited for. When
the worker dies, the program is called again: it should do no harm the second time. A command
expires only where its sender said so: a play, too, which a bot would not start any more after ten
minutes.

\b
Exit codes: 0 ended by --until-empty, 1 internal error, 2 usage, 3 the queue cannot be opened, or
not be used any more because it was deleted or replaced; 129, 130 and 143 ended by SIGHUP, SIGINT
and SIGTERM: programs still running after 6 seconds are ended (SIGTERM, two seconds later SIGKILL),
and their commands go back into the line.
""",
)
@click.option("--db", required=True, type=click.Path(dir_okay=False), help="The queue's file.")
@click.option(
    "--exec", "line", required=True, metavar="LINE", help="The program and its arguments."
)
@click.option(
    "--jobs", type=click.IntRange(1, 1000), default=1, show_default=True, help="At a time."
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.01, 7 * 86_400.0),
    metavar="SECONDS",
    help="End the program, with everything that it started, after so long.",
)
@click.option(
    "--tries",
    type=click.IntRange(1, 1000),
    default=5,
    show_default=True,
    help="How often a program that ends with 75 is called in all.",
)
@click.option(
    "--lease",
    type=click.FloatRange(0.1, 86_400.0),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="When this worker dies, others take over after so long.",
)
@click.option(
    "--period",
    type=click.FloatRange(0.01, 3600.0),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="From tick to tick; commands are noticed at once all the same.",
)
@click.option(
    "--synchronous",
    type=click.Choice(["full", "normal"]),
    default="full",
    show_default=True,
    help="full survives a power cut.",
)
@keep_awake_option
@click.option("--until-empty", is_flag=True, help="End when nothing waits any more.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="One JSON record a command, on stdout; programs' own goes to stderr.",
)
def work(
    db: str,
    line: str,
    jobs: int,
    timeout: float | None,
    tries: int,
    lease: float,
    period: float,
    synchronous: str,
    until_empty: bool,
    as_json: bool,
) -> int:
    """Carry out the commands of a queue with a program, one after the other for each key."""
    options = WorkOptions(
        db,
        Template(line),
        jobs,
        timeout,
        tries,
        lease,
        period,
        synchronous,
        until_empty,
        as_json,
    )
    logging.basicConfig(format="voicecore: %(message)s", level=logging.WARNING, stream=sys.stderr)
    return asyncio.run(_work(options))


async def _work(options: WorkOptions) -> int:
    settings: dict[str, Any] = {"synchronous": options.synchronous, "lease": options.lease}
    queue = CommandQueue(options.db, role="worker", play_expires_after=None, **settings)
    try:
        await queue.open()
    except (VoicecoreError, OSError) as problem:
        await queue.aclose()
        raise Failure(Exit.INPUT, problem, options.db) from None
    scheduler = JobScheduler(options, queue)
    with StopSignals() as stop:
        scheduler.start()
        waits = {asyncio.ensure_future(stop.wait()), asyncio.ensure_future(scheduler.wait())}
        if options.until_empty:
            waits.add(asyncio.ensure_future(scheduler.until_empty()))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await scheduler.shutdown()
            await queue.aclose()
            for one in waits:
                one.cancel()
            ended = await asyncio.gather(*waits, return_exceptions=True)
        problems = [one for one in ended if isinstance(one, Exception)]
        for bug in problems:
            if not isinstance(bug, DatabaseError):
                raise bug
        if scheduler.lost_file:
            return Exit.INPUT  # the log has said why
        if problems:
            raise Failure(Exit.INPUT, problems[0], options.db)
        if stop.caught is not None:
            return SIGNAL_BASE + stop.caught
    return Exit.DONE
