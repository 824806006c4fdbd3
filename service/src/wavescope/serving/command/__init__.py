"""The command ``wavescope serve``: a Ray cluster of its own on this host, and how it starts and ends."""
