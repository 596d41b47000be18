"""The book around `fpcore`: its experiments, results, figures, widgets and builder."""
