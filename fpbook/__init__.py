"""The book: its experiments, published results, figures, widgets and build."""
