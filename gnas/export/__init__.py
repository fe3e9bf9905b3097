"""Networks in the forms that other programs read."""
