"""Sequential tests that watch a stream of images for change, and the scores they watch: pure folds."""
