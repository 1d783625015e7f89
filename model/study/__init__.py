"""The parts of `model.explore`: ages, files, findings, plots and sections of the page."""
