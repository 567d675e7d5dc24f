"""voicecore and discord.py's own player on the same work, measured by one receiver.

`python -m benchmarks` runs everything and writes benchmarks/REPORT.md, benchmarks/results.json and
benchmarks/figures/.
"""
