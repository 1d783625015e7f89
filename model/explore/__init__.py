"""The study of a labelled photo set before a model is trained on it: `python -m model.explore`."""
