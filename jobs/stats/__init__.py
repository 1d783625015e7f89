"""Statistics of purchases by age: numpy and scipy only, no I/O.

The folder is not named `statistics`: spark-submit puts `jobs/` first on the path, where it would hide the module of the
standard library.
"""
