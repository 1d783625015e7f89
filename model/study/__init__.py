"""The parts of `model.explore`, the study of a labelled photo set before a model is trained on it."""
