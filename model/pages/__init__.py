"""HTML pages: a template for each, with a shared layout and shared parts."""
