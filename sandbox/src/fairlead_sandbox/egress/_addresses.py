"""Which addresses are public, and so may be what a name stands for."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

__all__ = ["is_public"]

# The tables are ours, for `is_global` of the standard library changes with the version of Python. IANA's registries of
# special-purpose addresses, without their exceptions; and what is not special by any registry but by habit.
CLOSED_V4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network; Linux connects 0.0.0.0 to itself
            "10.0.0.0/8",
            "100.64.0.0/10",  # carriers; the metadata of one cloud (100.100.100.200)
            "127.0.0.0/8",
            "168.63.129.16/32",  # the virtual host of one cloud, in public address space
            "169.254.0.0/16",  # link-local; the metadata of most clouds
            "172.16.0.0/12",
            "192.0.0.0/24",  # protocols; the metadata of one cloud (192.0.0.192)
            "192.0.2.0/24",
            "192.88.99.0/24",  # relays from 6to4
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
# Only this block is given out to the public. Loopback, mapped and compatible IPv4, NAT64 (64:ff9b::), unique local,
# link-local, site-local and multicast lie outside of it.
OPEN_V6 = IPv6Network("2000::/3")
CLOSED_V6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocols: Teredo, benchmarks, ORCHID
            "2001:db8::/32",
            "2002::/16",  # 6to4: an IPv4 address in another dress
            "3fff::/20",
        ),
    )
)


def is_public(text: str) -> bool:
    """Whether an address, as text, belongs to the public internet. What is no address (a zone, a name) does not.

    Forms that carry an IPv4 address inside of an IPv6 one are not public, whichever they carry: where there is such an
    address, the name has the IPv4 address as well.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv4Address):
        return not any(address in network for network in CLOSED_V4)
    return is_public_v6(address)


def is_public_v6(address: IPv6Address) -> bool:
    if address.scope_id is not None or address not in OPEN_V6:
        return False
    return not any(address in network for network in CLOSED_V6)
