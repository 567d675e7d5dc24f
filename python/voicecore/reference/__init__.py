"""The same contracts in pure asyncio and `aiosqlite`, short enough to read in an evening.

Install with `pip install voicecore[reference]`. Reading order: `schema` (the tables), `intents` and
`line` (pure functions: which command is next), `queue` (the transactions around them), `sessions`
(one session per key), `scheduler` (the tick). The files are the native engine's files: either
engine may open what the other has written. One suite, `tests_py/contract`, holds both to the
same contract.

What this engine cannot promise, each shown by a test there:

- **A blocked event loop stops it.** A transaction is several awaits; while the loop is blocked none
  of them goes on. A lease is not renewed, a `stop` is not seen. The native engine claims, renews
  and steers on its own thread.
- **One thread.** `SessionMutex.claim_nowait` is "look, then assign": atomic among tasks, because
  nothing awaits in between, and among threads not at all (R24).
- **A cancelled `claim` may keep what it took**, if the cancellation comes during COMMIT; that is
  claimable again when its lease has run out.
- **No doorbell, no self-audit, no checkpoint owner.** Work is found by asking; a second copy of
  SQLite in the process, a network file system, a file under two names, one that a fork has
  inherited or a replaced file are not noticed.
- **A claim reads the whole line**, so its cost grows with the backlog.

Where it differs without promising less, shown there as well:

- **Every claim ends all that has expired.** The native one looks no further than it has room: what
  it has not met, delayed or not, is still "ready", and ends when it is met; neither ever starts it.
- **Of several stops that overtake, the larger priority is claimed first**, natively the oldest.
- **Not every method is there**: `CommandQueue` names those that are not.
"""

from __future__ import annotations

from voicecore.reference.queue import CommandQueue
from voicecore.reference.scheduler import Scheduler
from voicecore.reference.sessions import Claim, SessionMutex

__all__ = ["Claim", "CommandQueue", "Scheduler", "SessionMutex"]
