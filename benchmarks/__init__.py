"""voicecore and its peers on the same work: audio, by one receiver, and the command queue.

`python -m benchmarks` runs everything and writes benchmarks/REPORT.md (audio), benchmarks/QUEUE.md,
their results.json and queue_results.json, and benchmarks/figures/. `--group audio` or
`--group queue` runs one of them.
"""
