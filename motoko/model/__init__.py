"""What studies mean, without any storage: states, schema, parameter space, constraints."""
