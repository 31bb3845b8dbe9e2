"""Encoders: frozen models that turn images or titles into vectors, named by a spec.

`specs` reads a spec, `base` says what every encoder offers, `registry` loads the one that a spec
names; each other module speaks to one library.
"""
