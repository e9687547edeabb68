"""A tool that fetches pages from the hosts that the configuration names. It runs in a container.

Imports the public names of the core only; nothing imports this package. Its floors, from low to high: `_address`
(URLs), `_markup` (HTML as text), `_client` (requests through the proxy), `_result` (what the model gets), `_tool`.
"""

from fairlead_fetch._tool import Fetch

__all__ = ["Fetch"]
