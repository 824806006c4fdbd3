"""Every metric's name and labels, and how processes count them."""
