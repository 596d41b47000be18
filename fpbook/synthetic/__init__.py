"""The experiments on the sparse coding model."""
