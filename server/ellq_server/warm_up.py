"""`python -m ellq_server.warm_up`: compile the CPU kernels into their cache, for images and first starts."""

from ellq_kernels import make_kernels, warm_up

if __name__ == "__main__":
    warm_up(make_kernels("cpu"))
