"""Jobs: the workers that carry them out, and the scores kept while they run."""
