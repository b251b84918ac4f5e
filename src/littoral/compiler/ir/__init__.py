"""The intermediate representation: graph, types, operations with their meaning, interpreter, printer, verifier."""
