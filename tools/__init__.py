"""The tools of the build: what gathers, generates and checks. Nothing that runs in production imports them."""
