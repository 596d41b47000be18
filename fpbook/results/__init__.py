"""Measured numbers: how one is recorded, published, summarised, shown, and held against the paper's claims."""
