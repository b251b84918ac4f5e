"""Where a caller comes from, as far as it can be told apart from others."""

from ipaddress import IPv6Address, ip_address

__all__ = ["network_of"]


def network_of(address: str) -> str:
    """What one caller may have many addresses of: of IPv6 the network of 64 bits, else the address itself."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(int(found) >> 64)
    return address
