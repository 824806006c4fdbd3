"""Hardening of Ray Serve's proxies: limits of connections, headers, bodies and messages, and who may call."""
