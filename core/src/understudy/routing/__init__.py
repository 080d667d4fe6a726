"""Who is on the route, in which order: names to targets with their providers, and strategies.

Enter by `route.read_route`, `route.Route` and `order.Ordering`. May import health, discovery and the nouns.
"""
