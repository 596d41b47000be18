"""What is measured, kept and published, and what each number rests on."""
