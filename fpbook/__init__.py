"""The book: the experiments behind its chapters, their published results, its figures, its widgets and its build."""
