"""Authentication by API keys, and the file of keys."""

from wavescope.auth.key_file import load_keys, load_quotas, make_access, make_authenticator

__all__ = ["load_keys", "load_quotas", "make_access", "make_authenticator"]
