"""The use case in domain types and small protocols; knows no transport."""
