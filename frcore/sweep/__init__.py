"""The paper's tables as sweeps of runs: `frcore sweep table1` or `frcore.run_sweep("table1")`.

tables: rows of runs  ->  plan: configurations, directories, command lines  ->  running: worked off
by a local pool or a cluster  ->  figures: means, spreads, tests  ->  report: Markdown, with notes.
"""
