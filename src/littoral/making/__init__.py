"""Models made of files that somebody brings: examined, compiled, compared, measured, in processes of their own."""
