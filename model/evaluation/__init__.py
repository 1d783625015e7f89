"""What predictions are worth: calibration, errors, intervals, plots."""
