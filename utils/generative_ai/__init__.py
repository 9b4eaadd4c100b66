"""A model that is asked one question at a time, may fail in every way, and never decides alone. Start at `client`."""
