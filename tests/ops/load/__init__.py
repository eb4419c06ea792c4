"""The load tests, as operations run them."""
