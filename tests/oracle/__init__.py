"""A second implementation of DDS, CDS and Ground-A-Score, written as plainly as their reference code works.

It shares nothing with `gas`: only torch and diffusers. It is slow, runs in fp32 on the CPU and has no options beyond
what the comparison needs; it is there to catch mistakes in the one loop that `gas` uses for all three.
"""
