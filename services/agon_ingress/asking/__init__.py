"""What the endpoints that ask a model share: the request on its way out, the answer on its way back."""
