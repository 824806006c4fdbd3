"""Jobs, the scores they have so far, and the results of earlier requests: in SQLite or in Redis."""
