"""The parts of `model.evaluate`: calibration, errors with their intervals, tables and plots."""
