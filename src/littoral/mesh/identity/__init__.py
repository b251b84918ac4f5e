"""Who a node is: joining a site with a token, certificates that are renewed inside it, revocation by the roster."""
