"""Proofs of the command queue by real processes, real kills and real faults of the file.

`pytest` runs their short forms; `tools/proof.sh full` runs them in full.
"""
