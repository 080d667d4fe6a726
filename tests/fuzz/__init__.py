"""What a stranger, a broken server or a careless caller can hand over: made at random, and held to what is promised."""
