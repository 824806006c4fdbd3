"""What a monitor sees, how soon and at what cost: measured on real photographs; ``make drift``."""
