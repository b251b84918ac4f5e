"""What a site believes: keys, certificates and the chains they make, by a clock that only moves forward."""
