"""The measured claims of the docs. Nothing here runs in `make test` but the tests about it."""
