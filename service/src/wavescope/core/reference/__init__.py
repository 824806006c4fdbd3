"""The computation of the authors' code (``compat: "reference"``)."""
