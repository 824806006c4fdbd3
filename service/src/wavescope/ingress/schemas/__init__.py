"""Bodies of requests and replies, checked by pydantic."""
