"""The nightly steps, each a spark-submit program and a `python -m` module alike."""
