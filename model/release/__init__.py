"""Model folders and the store of promoted ones."""
