"""The report on two networks: what is measured of them, and the page that shows it."""
