"""What needs compiler and runtime together: time by layer, the machine's own limit, machine code of a layer."""
