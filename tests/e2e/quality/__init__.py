"""What real models are worth, measured by running them: before compression and after it."""
