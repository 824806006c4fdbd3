"""The OpenAPI document, made of the schemas and of examples."""
