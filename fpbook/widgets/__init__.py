"""The widgets of the book."""
