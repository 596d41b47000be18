"""The book: what its chapters run, draw and publish, and how it is built; it stands on fpcore."""
