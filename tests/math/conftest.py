from hypothesis import settings

# No deadline: the first example builds power tables, and a loaded machine is no defect.
settings.register_profile("math", deadline=None, max_examples=60)
settings.load_profile("math")
