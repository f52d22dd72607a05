"""Packed weights: mask, exponents and the other bits of every weight, each stored losslessly in as few bytes as pays.

    words        what a dtype is made of, and how words come apart into planes of bytes      words
    sections     one run of bytes: plain, compressed, or in pairs of frequent symbols        sections, zstd
    blocks       up to 131 072 words: which are not zero, and the planes of those            blocks
    container    the safetensors file around them, and what its header says                  container
    packer       dense stream in, packed file out                                            packer
    reading      packed file in, dense stream out                                            reading, source
    entropies    how small order-0 coding could make it                                      entropies

Layout: docs/packed.md. Nothing here knows the server, and nothing here writes files.
"""
