"""`python -m ellq_server`: the same as `ellq serve`."""

import sys

from ellq_server.main import serve

if __name__ == "__main__":
    sys.exit(serve(sys.argv[1:]))
