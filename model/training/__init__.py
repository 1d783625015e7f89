"""The parts of `model.train`."""
