"""How soon a sleeping processor is to wake up: the kernel's CPU latency quality of service."""

from __future__ import annotations

import struct
from types import TracebackType
from typing import Self

from voicecore import _validate

DEVICE = "/dev/cpu_dma_latency"
MAX_SECONDS = 2000.0


class CpuLatencyRequest:
    """Asks Linux for processors that wake up within `seconds`, as long as it is held.

    A processor with nothing to do sleeps, and a virtual one goes back to its host: waking it can
    take milliseconds, so that frames, ticks and handlers begin that much later. This keeps every
    processor of the machine out of the sleeps that take longer; 0 out of every one. No listener
    hears a few milliseconds, and the price is power (on a virtual machine: processor time of the
    host, or the credit of a burstable one), so voicecore never asks by itself.

        with voicecore.CpuLatencyRequest() as latency:
            print(latency.refusal or "granted")
            bot.run(token)

    Works for all of the machine, whoever asks; of several requests the strictest counts. Needs
    write access to /dev/cpu_dma_latency: root, a udev rule, or `--device` in a container. Without
    it everything works as before: `granted` is false and `refusal` says why. It ends with `close`,
    at the latest with the process; a child of a fork that lives on holds it too.

    Args:
        seconds: the longest wake-up that is allowed, 0 to 2000; counted in whole microseconds.

    Raises:
        InvalidArgument: `seconds` is out of range.

    Any thread. Costs one open and one write. Source: the kernel's documentation, "PM Quality Of
    Service Interface".
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = _validate.number("seconds", seconds, 0.0, MAX_SECONDS, "seconds")
        self.refusal: str | None = None
        self._granted = False
        try:
            # The request lasts as long as this file is open. "r+" makes none where there is none.
            self._device = open(DEVICE, "r+b", buffering=0)  # noqa: SIM115
        except OSError as error:
            self.refusal = f"{DEVICE}: {error.strerror}"
            return
        try:
            self._device.write(struct.pack("=i", int(self.seconds * 1e6)))
            self._granted = True
        except OSError as error:
            self._device.close()
            self.refusal = f"{DEVICE}: {error.strerror}"

    @property
    def granted(self) -> bool:
        """Whether it holds now: not refused and not closed."""
        return self._granted

    def close(self) -> None:
        """Take the request back. Idempotent."""
        if self._granted:
            self._granted = False
            self._device.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "granted" if self.granted else self.refusal or "closed"
        return f"<CpuLatencyRequest {self.seconds:g} s: {state}>"
