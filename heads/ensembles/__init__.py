"""Several heads as one: the mean of their weights, or of what they say."""
