"""Sweeps: experiments as lists of independent tasks, on one machine or many."""
