"""The nodes of a site together: who they are, what each holds, how they speak."""
