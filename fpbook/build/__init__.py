"""From chapters to a site: execute, validate, build."""
