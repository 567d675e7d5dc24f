"""--keep-awake, for the commands that are to be punctual."""

from __future__ import annotations

import click

from voicecore import CpuLatencyRequest
from voicecore.cli.output import complain


def _hold_processors_awake(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        request = context.with_resource(CpuLatencyRequest())
        if request.refusal is not None:
            complain(f"--keep-awake: {request.refusal}; going on without it")


keep_awake_option = click.option(
    "--keep-awake",
    is_flag=True,
    expose_value=False,
    callback=_hold_processors_awake,
    help="Keep the processors from sleeping meanwhile: more punctual, for more power. Needs "
    "write access to /dev/cpu_dma_latency.",
)
