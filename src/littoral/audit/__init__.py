"""The tamper-evident log of a node: what was done, by whom and when, so that nobody can change it unseen.

`tree` (hashes and proofs), `tiles` (their files), `note` and `checkpoint` (what is signed) and `witness` are pure.
`log` appends over a `disk`, `retention` prunes, `recorder` gathers what a node tells, `verify` finds what was changed.
"""
