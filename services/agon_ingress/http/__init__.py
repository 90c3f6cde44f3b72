"""HTTP itself: the server, its outermost layer, errors, events, clients that leave."""
