"""`python -m booth`: the same as the console script."""

from __future__ import annotations

from booth.cli import main

main()
