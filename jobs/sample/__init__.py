"""Parts of the synthetic chain that `jobs.sample_chain` writes."""
