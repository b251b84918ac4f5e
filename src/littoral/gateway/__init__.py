"""Services of language models: which one is asked, for how much, and what happens where it does not answer."""
