"""Arrays in, arrays out: transforms, partitions, designs, rendering, estimators. No I/O, no clock, no global state."""
