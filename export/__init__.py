"""SavedModel export and serving files."""
