"""The composition root: configuration in, running CA out. The only package that knows both sides of the ports."""
