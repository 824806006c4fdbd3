"""Arrays in, arrays out: transforms, designs, rendering, estimators, tests for change. No I/O, no clock, no globals."""
