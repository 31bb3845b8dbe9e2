"""The demo catalogue: drawn products with known truth, to try everything on."""
