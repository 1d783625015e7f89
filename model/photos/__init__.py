"""From image files and labels to pixels."""
