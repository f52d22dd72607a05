"""The GPU maker: Triton kernels over tables of rows, so that one launch serves a list of tensors."""
