"""The CPU maker: numba on plain integer arrays. All kernels are serial and free of the GIL; threads.py shares out the work."""
